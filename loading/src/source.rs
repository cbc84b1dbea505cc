//! A file of the Hub as a [`ByteSource`]: ranged reads.
//!
//! Owns the start of the file in memory, because types are inferred from it before rows are read from it. Refuses to read
//! ahead: readers know what they need and ask for it in blocks. Every fetch asks the job's guard and is counted by it.
//! Failures are `io::Error`s that hold a [`FormatError`].

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use outpost_formats::{ByteSource, ErrorClass, FormatError};
use outpost_hub::HubError;
use outpost_model::{DatasetName, Revision, limits};

use crate::repository::LoadContext;

/// Bytes kept of the start of a file: one inference chunk and what read-ahead fetched beyond it.
const START_BYTES_MAX: u64 = (limits::CHUNK_BYTES + limits::READ_BLOCK_BYTES_MAX) as u64;

/// Least fetch: readers that look at a few bytes go on right behind them.
const FETCH_BYTES_MIN: u64 = 4 * 1024;

/// A file of a dataset at a revision.
pub struct HubSource {
    context: LoadContext,
    dataset: DatasetName,
    revision: Revision,
    path: String,
    size: u64,
    /// Contiguous from the first byte, each with its place; at most [`START_BYTES_MAX`] and one fetch.
    start: Mutex<Vec<(u64, Bytes)>>,
}

/// Copies what the start holds at `offset`.
fn copy_from(start: &[(u64, Bytes)], offset: u64, buffer: &mut [u8]) -> Option<usize> {
    let place = start.partition_point(|(at, _)| *at <= offset).checked_sub(1)?;
    let (at, bytes) = &start[place];
    let rest = bytes.get(usize::try_from(offset - at).ok()?..).filter(|rest| !rest.is_empty())?;
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    Some(count)
}

impl HubSource {
    /// A file of `size` bytes.
    #[must_use]
    pub fn new(
        context: &LoadContext,
        dataset: &DatasetName,
        revision: &Revision,
        path: &str,
        size: u64,
    ) -> Self {
        Self {
            context: context.clone(),
            dataset: dataset.clone(),
            revision: revision.clone(),
            path: path.to_owned(),
            size,
            start: Mutex::default(),
        }
    }

    fn fetch(&self, offset: u64, length: u64) -> io::Result<Bytes> {
        let guard = &self.context.guard;
        if guard.must_stop() {
            return Err(FormatError::new(ErrorClass::ConnectionError, "the job was stopped").into());
        }
        let read = self.context.hub.read_range(&self.dataset, &self.revision, &self.path, offset, length);
        let bytes =
            self.context.runtime.block_on(read).map_err(|error| io::Error::from(as_format(&error)))?;
        guard.count_bytes(bytes.len() as u64);
        if bytes.is_empty() {
            let message = format!("'{}' ended at byte {offset} of {}", self.path, self.size);
            return Err(FormatError::new(ErrorClass::ConnectionError, message).into());
        }
        Ok(bytes)
    }
}

impl ByteSource for HubSource {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = copy_from(&start, offset, buffer) {
            return Ok(count);
        }
        let length =
            FETCH_BYTES_MIN.max(buffer.len() as u64).min(limits::JOB_RANGE_BYTES_MAX).min(self.size - offset);
        let bytes = self.fetch(offset, length)?;
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        let start_end = start.last().map_or(0, |(at, bytes)| at + bytes.len() as u64);
        if offset == start_end && start_end < START_BYTES_MAX {
            start.push((offset, bytes));
        }
        Ok(count)
    }
}

fn as_format(error: &HubError) -> FormatError {
    let class = match error {
        _ if error.is_transient() => ErrorClass::ConnectionError,
        HubError::EntryNotFound(_) | HubError::RepoNotFound(_) | HubError::RevisionNotFound(_) => {
            ErrorClass::FileNotFoundError
        }
        HubError::TooLarge { .. } => ErrorClass::LimitExceeded,
        _ => ErrorClass::OSError,
    };
    FormatError::new(class, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use outpost_hub::{FolderHub, FolderHubOptions, Hub};

    use super::*;
    use crate::guard::JobGuard;

    struct Fixture {
        source: HubSource,
        content: Vec<u8>,
        _folder: tempfile::TempDir,
        _runtime: tokio::runtime::Runtime,
    }

    fn file_of(size: usize) -> Fixture {
        let content: Vec<u8> = (0..size).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("u/n")).unwrap();
        std::fs::write(folder.path().join("u/n/f"), &content).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let hub: Arc<dyn Hub> = Arc::new(FolderHub::open(FolderHubOptions::new(folder.path())).unwrap());
        let dataset = DatasetName::new("u/n").unwrap();
        let revision = runtime.block_on(hub.repo_info(&dataset, None)).unwrap().revision;
        let guard = Arc::new(JobGuard::new(Instant::now() + Duration::from_secs(3_600)));
        let context = LoadContext { hub, runtime: runtime.handle().clone(), guard };
        let source = HubSource::new(&context, &dataset, &revision, "f", size as u64);
        Fixture { source, content, _folder: folder, _runtime: runtime }
    }

    impl Fixture {
        fn read(&self, offset: usize, length: usize) -> Vec<u8> {
            let mut buffer = vec![0; length];
            let mut filled = 0;
            while filled < length {
                match self.source.read_at((offset + filled) as u64, &mut buffer[filled..]).unwrap() {
                    0 => break,
                    count => filled += count,
                }
            }
            buffer.truncate(filled);
            buffer
        }

        fn bytes_read(&self) -> u64 {
            self.source.context.guard.bytes_read()
        }
    }

    #[test]
    fn reads_give_the_bytes_of_the_file_wherever_they_start() {
        let file = file_of(300_000);
        for (offset, length) in [(0, 10), (65_530, 20), (299_990, 100), (5, 200_000), (0, 300_000)] {
            let end = (offset + length).min(file.content.len());
            assert_eq!(file.read(offset, length), file.content[offset..end], "{offset} {length}");
        }
        assert_eq!(file.read(300_000, 1), b"");
    }

    #[test]
    fn a_read_costs_what_it_asks_for() {
        let file = file_of(10_000_000);
        file.read(5_000_000, 100_000);
        assert_eq!(file.bytes_read(), 100_000);
        file.read(0, 10);
        file.read(20, 10);
        assert_eq!(file.bytes_read(), 100_000 + FETCH_BYTES_MIN);
    }

    #[test]
    fn a_second_reading_of_the_start_costs_nothing() {
        let file = file_of(3_000_000);
        let first = file.read(0, 3_000_000);
        assert_eq!(file.read(0, 3_000_000), first);
        assert_eq!(file.bytes_read(), 3_000_000);
    }

    #[test]
    fn a_cancelled_job_reads_no_further() {
        let file = file_of(10);
        file.source.context.guard.cancel();
        let error = file.source.read_at(0, &mut [0]).unwrap_err();
        assert!(FormatError::from(error).class.is_transient());
    }

    #[test]
    fn a_file_that_is_gone_is_not_found() {
        let mut file = file_of(10);
        file.source.path = "g".to_owned();
        let error = file.source.read_at(0, &mut [0]).unwrap_err();
        assert_eq!(FormatError::from(error).class, ErrorClass::FileNotFoundError);
    }
}
