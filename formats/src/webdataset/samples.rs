//! Samples: neighbouring members of an archive that share a key (dataset-loading.md section 1.11).
//!
//! Owns the split of member names into key and field, and what is held at once: one sample, within
//! [`limits::SAMPLE_BYTES_MAX`] and [`limits::SAMPLE_FIELDS_MAX`]. Members that no one asked for and that cannot fail to
//! decode are skipped unread. Fails with the errors of the archive and of the decoders.

use std::sync::Arc;

use indexmap::IndexMap;
use outpost_model::limits;

use super::decode::{Cell, decode, is_decoded};
use super::tar::{Member, Tar};
use crate::error::{ErrorClass, FormatError};
use crate::features::Features;
use crate::memory;
use crate::module::DataFile;

/// The column of the key.
pub(super) const KEY: &str = "__key__";
/// The column of the archive's address.
pub(super) const URL: &str = "__url__";

/// One sample.
pub(super) struct Sample {
    pub(super) key: Arc<str>,
    /// Decoded fields in the order of the archive.
    pub(super) fields: IndexMap<Arc<str>, Cell>,
    /// Bytes of its members as they stand in the archive and unpacked.
    pub(super) bytes: usize,
    /// Whether it is the last one of its archive.
    pub(super) is_last: bool,
}

/// The samples of an archive, in order.
pub(super) struct Samples {
    tar: Tar,
    /// The member that begins the next sample, its content not read.
    pending: Option<(Place, Member)>,
    started: bool,
}

/// Where a member belongs.
struct Place {
    key: Arc<str>,
    field: Arc<str>,
}

impl Samples {
    pub(super) fn open(file: &DataFile) -> Result<Self, FormatError> {
        Ok(Self { tar: Tar::open(file)?, pending: None, started: false })
    }

    /// The next sample with the fields that `wanted` names, or with all.
    pub(super) fn next(&mut self, wanted: Option<&Features>) -> Result<Option<Sample>, FormatError> {
        if !self.started {
            self.started = true;
            self.pending = self.next_place()?;
        }
        let Some((mut place, mut member)) = self.pending.take() else { return Ok(None) };
        let mut sample =
            Sample { key: Arc::clone(&place.key), fields: IndexMap::new(), bytes: 0, is_last: false };
        loop {
            self.add(&mut sample, &place, &member, wanted)?;
            match self.next_place()? {
                None => {
                    sample.is_last = true;
                    return Ok(Some(sample));
                }
                Some(next) if next.0.key != sample.key => {
                    self.pending = Some(next);
                    return Ok(Some(sample));
                }
                Some(next) => (place, member) = next,
            }
        }
    }

    /// The next member that belongs to a sample.
    fn next_place(&mut self) -> Result<Option<(Place, Member)>, FormatError> {
        for _ in 0..limits::TAR_HEADERS_SKIPPED_MAX {
            let Some(member) = self.tar.next_member()? else { return Ok(None) };
            if let Some(place) = place(&member.name) {
                return Ok(Some((place, member)));
            }
        }
        let message = format!(
            "the archive has more than {} files in a row that belong to no sample; pack only the samples",
            limits::TAR_HEADERS_SKIPPED_MAX
        );
        Err(FormatError::new(ErrorClass::LimitExceeded, message))
    }

    fn add(
        &mut self,
        sample: &mut Sample,
        place: &Place,
        member: &Member,
        wanted: Option<&Features>,
    ) -> Result<(), FormatError> {
        let is_wanted = wanted.is_none_or(|features| features.get(&place.field).is_some());
        if !is_wanted && !is_decoded(&member.name) {
            return Ok(());
        }
        let budget = limits::SAMPLE_BYTES_MAX - sample.bytes;
        if member.size > budget as u64 {
            return Err(too_long(&sample.key));
        }
        memory::hold(sample.bytes + member.size as usize)?;
        let content = self.tar.read_content()?;
        let cell = decode(&member.name, content, budget)?;
        sample.bytes += cell.bytes;
        if !is_wanted {
            return Ok(());
        }
        sample.fields.insert(Arc::clone(&place.field), cell);
        if sample.fields.len() > limits::SAMPLE_FIELDS_MAX {
            let message = format!(
                "sample '{}' has more than {} files; name the files of each sample by a key of their own",
                sample.key,
                limits::SAMPLE_FIELDS_MAX
            );
            return Err(FormatError::new(ErrorClass::LimitExceeded, message));
        }
        Ok(())
    }
}

/// The error of a sample that is not held.
pub(super) fn too_long(key: &str) -> FormatError {
    let message = format!(
        "sample '{key}' has more than {} bytes; split it into smaller samples",
        limits::SAMPLE_BYTES_MAX
    );
    FormatError::new(ErrorClass::LimitExceeded, message)
}

/// Key and field of a member; `None` for hidden ones and those without an extension.
fn place(name: &str) -> Option<Place> {
    let base_start = name.rfind('/').map_or(0, |slash| slash + 1);
    let base = &name[base_start..];
    if base.starts_with('.') || base.starts_with("__") {
        return None;
    }
    let dot = base_start + base.find('.')?;
    Some(Place { key: name[..dot].into(), field: name[dot + 1..].into() })
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn a_name_splits_at_the_first_dot_of_its_last_part() {
        for (name, expected) in [
            ("a.txt", Some(("a", "txt"))),
            ("d.e/a.tar.gz", Some(("d.e/a", "tar.gz"))),
            ("./a.Seg.PNG", Some(("./a", "Seg.PNG"))),
            ("a.", Some(("a", ""))),
            ("a", None),
            ("d.e/a", None),
            ("d/.a.txt", None),
            ("__MACOSX.txt", None),
        ] {
            let found = place(name);
            let found = found.as_ref().map(|place| (&*place.key, &*place.field));
            assert_eq!(found, expected, "{name}");
        }
    }
}
