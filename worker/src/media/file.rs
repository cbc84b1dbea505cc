//! Files of the Hub that cells name by path (http-api.md section 6.3).
//!
//! Owns which paths name one: `hf://datasets/{the same dataset}@{revision}/{path}`, or a member of a zip archive there,
//! `zip://{member}::{archive}`. Paths into other datasets are refused, whatever the node's token may read, and so are
//! archives inside of archives; other paths name nothing here. Reads are bounded, ask the job's guard and are counted
//! by it.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;
use outpost_formats::{ByteSource, FormatError};
use outpost_hub::HubError;
use outpost_loading::LoadError;
use outpost_model::limits::{
    IMAGE_HEAD_BYTES_MAX, MEDIA_FILE_BYTES_MAX, MEDIA_FIRST_READ_BYTES, READ_BLOCK_BYTES_MIN,
};
use outpost_model::{DatasetName, Revision};
use percent_encoding::percent_decode_str;

use super::budget::Reservation;
use super::{MediaError, MediaStep};

const SCHEME: &str = "hf://";
const ZIP_SCHEME: &str = "zip://";
const BLOCK_BYTES: u64 = READ_BLOCK_BYTES_MIN as u64;
/// What is read of a member at a time.
const MEMBER_STEP_BYTES: usize = 64 * 1024;

/// A file of the job's dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HubFile {
    revision: Revision,
    path: String,
}

impl HubFile {
    /// The file that a path names; `None` for a local path.
    ///
    /// # Errors
    /// Why the path is refused, as part of a sentence.
    pub(super) fn parse(text: &str, dataset: &DatasetName) -> Result<Option<Self>, String> {
        let Some(rest) = text.strip_prefix(SCHEME) else { return Ok(None) };
        let in_dataset = rest.strip_prefix("datasets/").and_then(|rest| rest.strip_prefix(dataset.as_str()));
        let Some(rest) = in_dataset.and_then(|rest| rest.strip_prefix('@')) else {
            return Err(format!(
                "a path does not start with '{SCHEME}datasets/{dataset}@': files of other repositories are not shown"
            ));
        };
        let named = rest.split_once('/').filter(|(_, path)| !path.is_empty());
        let (revision, path) = named.ok_or("a path names no file after its revision")?;
        let revision = percent_decode_str(revision).decode_utf8().ok();
        let revision = revision.and_then(|name| Revision::new(&name).ok());
        let revision = revision.ok_or("the revision in a path is not one")?;
        Ok(Some(Self { revision, path: path.to_owned() }))
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where readers find the file, when the Hub has such addresses.
    pub(super) fn resolve_url(&self, step: &MediaStep<'_>) -> Option<String> {
        step.hub.resolve_url(&step.rows.dataset, &self.revision, &self.path)
    }

    /// The whole file, with memory for `beside` bytes more.
    pub(super) fn read<'s>(&self, step: &MediaStep<'s>, beside: u64) -> Result<HeldFile<'s>, MediaError> {
        let mut room = MEDIA_FIRST_READ_BYTES;
        loop {
            let mut reserved = step.budget.take(room + beside, step.guard)?;
            let read = step.hub.read_file(&step.rows.dataset, &self.revision, &self.path, room);
            let file = match step.runtime.block_on(read) {
                Err(HubError::TooLarge { size, .. }) if room == MEDIA_FIRST_READ_BYTES => {
                    room = size.clamp(room + 1, MEDIA_FILE_BYTES_MAX);
                    continue;
                }
                // The size was no more than what had come by then.
                Err(HubError::TooLarge { .. }) if room < MEDIA_FILE_BYTES_MAX => {
                    room = MEDIA_FILE_BYTES_MAX;
                    continue;
                }
                file => file?.ok_or_else(|| HubError::EntryNotFound(self.path.clone()))?,
            };
            step.guard.count_bytes(file.len() as u64);
            reserved.try_resize(file.len() as u64 + beside);
            return Ok(HeldFile { bytes: file, reserved });
        }
    }

    /// The file, read where it is looked at.
    pub(super) fn head<'a>(&'a self, step: &'a MediaStep<'a>) -> FileHead<'a> {
        FileHead { file: self, step, position: 0, blocks: Vec::new(), failure: None }
    }
}

/// A member of a zip archive of the job's dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchiveMember {
    archive: HubFile,
    name: String,
}

impl ArchiveMember {
    /// The member that a path names; `None` for a path of another kind.
    ///
    /// # Errors
    /// Why the path is refused, as part of a sentence.
    pub(super) fn parse(text: &str, dataset: &DatasetName) -> Result<Option<Self>, String> {
        let Some(rest) = text.strip_prefix(ZIP_SCHEME) else { return Ok(None) };
        let (name, archive) = rest.split_once("::").unwrap_or((rest, ""));
        if archive.contains("::") {
            return Err("a path leads through more than one archive; unpack the inner one".to_owned());
        }
        let Some(archive) = HubFile::parse(archive, dataset)? else { return Ok(None) };
        if name.is_empty() {
            return Err("a path names no member of its archive".to_owned());
        }
        Ok(Some(Self { archive, name: name.to_owned() }))
    }

    /// The whole member, with memory for `beside` bytes more.
    pub(super) fn read<'s>(&self, step: &MediaStep<'s>, beside: u64) -> Result<HeldFile<'s>, MediaError> {
        let Self { archive, name } = self;
        let member = step.archives.member(&archive.revision, &archive.path, name)?;
        let size = member.source.len();
        if size > MEDIA_FILE_BYTES_MAX {
            return Err(MediaError::Cell(format!(
                "its file '{}' has {size} bytes, more than the limit of {MEDIA_FILE_BYTES_MAX}",
                member.path
            )));
        }
        let reserved = step.budget.take(size + beside, step.guard)?;
        let mut bytes = Vec::new();
        read_to_end(&*member.source, &mut bytes)
            .map_err(|error| LoadError::from(FormatError::from(error)))?;
        Ok(HeldFile { bytes: bytes.into(), reserved })
    }
}

/// Grows with what comes, whatever length the archive claims; the whole of it is reserved.
fn read_to_end(source: &dyn ByteSource, bytes: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::try_from(source.len()).map_err(io::Error::other)?;
    while bytes.len() < length {
        let start = bytes.len();
        let step = (length - start).min(MEMBER_STEP_BYTES);
        bytes.reserve_exact(if start == 0 { step } else { length - start });
        bytes.resize(start + step, 0);
        let count = source.read_at(start as u64, &mut bytes[start..])?;
        bytes.truncate(start + count);
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// A file in memory, and the part of the budget that it takes.
pub(super) struct HeldFile<'s> {
    pub(super) bytes: Bytes,
    pub(super) reserved: Reservation<'s>,
}

/// Reads the blocks of a file that are asked for, up to [`IMAGE_HEAD_BYTES_MAX`]; it does not know the file's end.
pub(super) struct FileHead<'a> {
    file: &'a HubFile,
    step: &'a MediaStep<'a>,
    position: u64,
    blocks: Vec<(u64, Bytes)>,
    /// What the last read failed with, which the caller of a decoder would not get to see.
    pub(super) failure: Option<MediaError>,
}

impl FileHead<'_> {
    fn block(&mut self, index: u64) -> io::Result<Bytes> {
        if let Some((_, block)) = self.blocks.iter().find(|(known, _)| *known == index) {
            return Ok(block.clone());
        }
        if self.blocks.len() as u64 * BLOCK_BYTES >= IMAGE_HEAD_BYTES_MAX {
            return Err(io::Error::other("its size is told too far into the file"));
        }
        let block = self.fetch(index * BLOCK_BYTES).map_err(|failure| {
            let error = io::Error::other("the file cannot be read");
            self.failure = Some(failure);
            error
        })?;
        self.blocks.push((index, block.clone()));
        Ok(block)
    }

    fn fetch(&self, offset: u64) -> Result<Bytes, MediaError> {
        let Self { step, file, .. } = self;
        if step.guard.must_stop() {
            return Err(MediaError::Stopped);
        }
        let read = step.hub.read_range(&step.rows.dataset, &file.revision, &file.path, offset, BLOCK_BYTES);
        let bytes = step.runtime.block_on(read)?;
        step.guard.count_bytes(bytes.len() as u64);
        Ok(bytes)
    }
}

impl Read for FileHead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let block = self.block(self.position / BLOCK_BYTES)?;
        let start = usize::try_from(self.position % BLOCK_BYTES).map_err(io::Error::other)?;
        let rest = block.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for FileHead<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        // Far beyond any file, where the sum of a position and a block would not fit.
        let position = position.filter(|position| *position <= i64::MAX as u64);
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<(String, String)>, String> {
        let file = HubFile::parse(text, &DatasetName::new("u/d").unwrap())?;
        Ok(file.map(|file| (file.revision.to_string(), file.path)))
    }

    #[test]
    fn paths_of_the_same_dataset_name_a_file_at_a_revision() {
        for (text, revision, path) in [
            ("hf://datasets/u/d@abc/x.jpg", "abc", "x.jpg"),
            ("hf://datasets/u/d@abc/a/b@c.jpg", "abc", "a/b@c.jpg"),
            ("hf://datasets/u/d@%61bc/x", "abc", "x"),
        ] {
            assert_eq!(parse(text), Ok(Some((revision.into(), path.into()))), "{text}");
        }
    }

    #[test]
    fn other_repositories_and_half_paths_are_refused() {
        for text in [
            "hf://datasets/u/other@abc/x.jpg",
            "hf://datasets/u/d2@abc/x.jpg",
            "hf://datasets/v/d@abc/x.jpg",
            "hf://datasets/u/d/x.jpg",
            "hf://models/u/d@abc/x.jpg",
            "hf://u/d@abc/x.jpg",
            "hf://datasets/u/d@abc",
            "hf://datasets/u/d@abc/",
            "hf://datasets/u/d@/x.jpg",
            "hf://datasets/u/d@%ff/x.jpg",
            "hf://datasets/u/d@refs%2Fpr%2F7/x.jpg",
            "hf://",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn members_of_archives_are_those_of_one_archive_of_the_same_dataset() {
        let parse = |text: &str| {
            let member = ArchiveMember::parse(text, &DatasetName::new("u/d").unwrap())?;
            Ok::<_, String>(member.map(|member| (member.name, member.archive.path)))
        };
        let named = |name: &str, path: &str| Ok(Some((name.to_owned(), path.to_owned())));
        assert_eq!(parse("zip://a/b c.png::hf://datasets/u/d@abc/x/y.zip"), named("a/b c.png", "x/y.zip"));
        for local in ["hf://datasets/u/d@abc/x.zip", "zip://a.png", "zip://a.png::/tmp/x.zip", "a.zip", ""] {
            assert_eq!(parse(local), Ok(None), "{local}");
        }
        for (refused, reason) in [
            ("zip://a::zip://b.zip::hf://datasets/u/d@abc/x.zip", "more than one archive"),
            ("zip://a::hf://datasets/u/other@abc/x.zip", "other repositories"),
            ("zip://::hf://datasets/u/d@abc/x.zip", "names no member"),
        ] {
            assert!(parse(refused).unwrap_err().contains(reason), "{refused}");
        }
    }

    #[test]
    fn local_paths_name_no_file() {
        for text in ["x.jpg", "/etc/passwd", "https://example.com/x.jpg", ""] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
    }
}
