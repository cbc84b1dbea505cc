//! In which order the assets of a replica were last read.
//!
//! Owns the order, by rows: in memory, and in a file of one line per rows that is written now and then and when the node
//! stops, so that a new version does not begin by dropping what is read most. After a crash, reads since the last
//! writing count as none. A file or line that cannot be read is left out: it costs order, never an asset.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use outpost_model::{AssetSplit, ConfigName, DatasetName, Revision, SplitName, limits};

/// A moment in the order of reads; later ones are greater.
pub(super) type Turn = u64;

/// See the module.
pub(super) struct Reads {
    turns: HashMap<AssetSplit, Turn>,
    next: Turn,
    /// What `next` was when the file was written.
    written: Turn,
    file: PathBuf,
}

impl Reads {
    /// The order as `file` has it. Blocks.
    pub(super) fn open(file: PathBuf) -> Self {
        let mut reads = Self { turns: HashMap::new(), next: 0, written: 0, file };
        match File::open(&reads.file) {
            Ok(opened) => reads.take_lines(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(file = %reads.file.display(), %error, "the order of reads is not known");
            }
        }
        reads.written = reads.next;
        reads
    }

    fn take_lines(&mut self, file: File) {
        let bounded = BufReader::new(file.take(limits::ASSET_READS_FILE_BYTES_MAX));
        for line in bounded.split(b'\n').map_while(Result::ok) {
            if let Some(rows) = rows_of_line(&line) {
                self.was_read(&rows);
            }
        }
    }

    /// Rows are read now, after all others.
    pub(super) fn was_read(&mut self, rows: &AssetSplit) {
        if self.turns.len() >= limits::ASSET_ROWS_REMEMBERED_MAX && !self.turns.contains_key(rows) {
            let mut turns: Vec<Turn> = self.turns.values().copied().collect();
            let middle = turns.len() / 2;
            let (_, &mut median, _) = turns.select_nth_unstable(middle);
            self.turns.retain(|_, turn| *turn > median);
        }
        self.turns.insert(rows.clone(), self.next);
        self.next += 1;
    }

    /// When rows were last read; `None`, before all others, when that is not known.
    pub(super) fn turn(&self, rows: &AssetSplit) -> Option<Turn> {
        self.turns.get(rows).copied()
    }

    /// Forgets rows that are no longer there.
    pub(super) fn forget(&mut self, rows: &AssetSplit) {
        self.turns.remove(rows);
    }

    /// What is to be written, `None` when nothing was read since.
    pub(super) fn draft(&mut self) -> Option<ReadsDraft> {
        if self.written == self.next {
            return None;
        }
        self.written = self.next;
        let mut rows: Vec<(Turn, AssetSplit)> =
            self.turns.iter().map(|(rows, turn)| (*turn, rows.clone())).collect();
        rows.sort_unstable_by_key(|(turn, _)| *turn);
        Some(ReadsDraft { rows, file: self.file.clone() })
    }
}

/// The order at one moment.
pub(super) struct ReadsDraft {
    rows: Vec<(Turn, AssetSplit)>,
    file: PathBuf,
}

impl ReadsDraft {
    /// Puts it in the place of the file. Blocks.
    ///
    /// # Errors
    /// When the disk takes no file.
    pub(super) fn write(self) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut lines = BufWriter::new(File::create(&new)?);
        for (_, AssetSplit { dataset, config, split, revision }) in &self.rows {
            let line = (dataset.as_str(), config.as_str(), split.as_str(), revision.as_str());
            serde_json::to_writer(&mut lines, &line)?;
            lines.write_all(b"\n")?;
        }
        lines.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(new, self.file)
    }
}

fn rows_of_line(line: &[u8]) -> Option<AssetSplit> {
    let (dataset, config, split, revision): (String, String, String, String) =
        serde_json::from_slice(line).ok()?;
    Some(AssetSplit {
        dataset: DatasetName::new(&dataset).ok()?,
        config: ConfigName::new(&config).ok()?,
        split: SplitName::new(&split).ok()?,
        revision: Revision::new(&revision).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rows;

    #[test]
    fn the_order_is_there_again_and_damaged_lines_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reads");
        let mut reads = Reads::open(file.clone());
        let odd = AssetSplit { config: ConfigName::new("b \"\u{1F600}").unwrap(), ..rows("b") };
        let (a, c, d) = (rows("a"), rows("c"), rows("d"));
        for read in [&a, &odd, &c, &d, &a] {
            reads.was_read(read);
        }
        reads.forget(&d);
        reads.draft().unwrap().write().unwrap();
        assert!(reads.draft().is_none(), "nothing was read since");
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 3);
        fs::write(&file, format!("not a line\n{text}[\"u/d\", \"cut")).unwrap();
        let again = Reads::open(file);
        let turns = [odd, c, a].map(|rows| again.turn(&rows).unwrap());
        assert!(turns.is_sorted(), "{turns:?}");
        assert_eq!(again.turn(&d), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_or_written_costs_the_order_only() {
        let directory = tempfile::tempdir().unwrap();
        let mut reads = Reads::open(directory.path().to_owned());
        reads.was_read(&rows("a"));
        assert!(reads.draft().unwrap().write().is_err());
        assert!(reads.turn(&rows("a")).is_some());
    }

    #[test]
    fn no_more_rows_are_remembered_than_may_be_and_the_older_half_goes() {
        let directory = tempfile::tempdir().unwrap();
        let mut reads = Reads::open(directory.path().join("reads"));
        for split in 0..=limits::ASSET_ROWS_REMEMBERED_MAX {
            reads.was_read(&rows(&split.to_string()));
        }
        assert!(reads.turns.len() <= limits::ASSET_ROWS_REMEMBERED_MAX / 2 + 1);
        let last = limits::ASSET_ROWS_REMEMBERED_MAX.to_string();
        assert!(reads.turn(&rows(&last)).is_some() && reads.turn(&rows("0")).is_none());
    }
}
