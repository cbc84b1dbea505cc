//! Decoders of single-file compression formats as readers.
//!
//! Owns joining the members, streams and frames of one file, which the format libraries leave to the caller, and the
//! adapter that bounds and words what comes out. Truncated data is an error, never a silent end. Once failed, a reader
//! stays failed: the libraries promise nothing after an error.

use std::io::{self, BufRead, Read};
use std::mem;

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use outpost_model::limits;

use super::Packing;
use super::source_reader::{Failure, SourceReader};
use crate::error::{ErrorClass, FormatError};
use crate::memory;

/// gzip: members one after the other, zero padding between and after them ignored. An empty file is an empty gzip file.
pub(super) struct GzReader {
    state: GzState,
}

enum GzState {
    Between(SourceReader),
    Member(Box<GzDecoder<SourceReader>>),
    Ended,
}

impl GzReader {
    pub(super) fn new(input: SourceReader) -> Self {
        Self { state: GzState::Between(input) }
    }
}

impl Read for GzReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.state = match mem::replace(&mut self.state, GzState::Ended) {
                GzState::Ended => return Ok(0),
                GzState::Between(mut input) => {
                    if input.peek(1)?.is_empty() {
                        return Ok(0);
                    }
                    GzState::Member(Box::new(GzDecoder::new(input)))
                }
                GzState::Member(mut decoder) => {
                    let count = decoder.read(buffer)?;
                    if count > 0 || buffer.is_empty() {
                        self.state = GzState::Member(decoder);
                        return Ok(count);
                    }
                    let mut input = decoder.into_inner();
                    while input.peek(1)? == [0] {
                        input.consume(1);
                    }
                    GzState::Between(input)
                }
            };
        }
    }
}

/// bz2: streams one after the other; bytes after the last that start no stream are ignored.
pub(super) struct BzReader {
    decoder: Option<BzDecoder<SourceReader>>,
}

impl BzReader {
    pub(super) fn new(input: SourceReader) -> Self {
        Self { decoder: Some(BzDecoder::new(input)) }
    }
}

impl Read for BzReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut decoder) = self.decoder.take() {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.decoder = Some(decoder);
                return Ok(count);
            }
            let mut input = decoder.into_inner();
            if input.peek(3)? != b"BZh" {
                return Ok(0);
            }
            self.decoder = Some(BzDecoder::new(input));
        }
        Ok(0)
    }
}

/// xz: streams and padding between them, with a bound on the dictionary.
pub(crate) fn xz_reader(input: impl BufRead + Send) -> impl Read + Send {
    let memory_kb = u32::try_from(limits::DECODER_MEMORY_BYTES_MAX / 1024).unwrap_or(u32::MAX);
    lzma_rust2::XzReader::new_mem_limit(input, true, memory_kb)
}

/// zstd: frames one after the other, with a bound on the window.
pub(crate) fn zstd_reader(input: impl BufRead + Send) -> io::Result<impl Read + Send> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(limits::DECODER_MEMORY_BYTES_MAX.ilog2())?;
    Ok(decoder)
}

/// Passes reads through and remembers that the end of the input was met.
struct EndSpy {
    input: SourceReader,
    met_end: bool,
}

impl Read for EndSpy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.met_end |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}

/// lz4: frames one after the other. The library ends silently where blocks are missing; running into the end of the
/// input inside a frame tells.
pub(super) struct Lz4Reader {
    decoder: Option<FrameDecoder<EndSpy>>,
}

impl Lz4Reader {
    pub(super) fn new(input: SourceReader) -> Self {
        Self { decoder: Some(FrameDecoder::new(EndSpy { input, met_end: false })) }
    }
}

impl Read for Lz4Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut decoder) = self.decoder.take() {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.decoder = Some(decoder);
                return Ok(count);
            }
            let mut spy = decoder.into_inner();
            if spy.met_end {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if spy.input.peek(1)?.is_empty() {
                return Ok(0);
            }
            self.decoder = Some(FrameDecoder::new(spy));
        }
        Ok(0)
    }
}

/// Bounds the decoded bytes of a file and words its failures.
pub(super) struct Bounded<R> {
    decoder: R,
    source_failure: Failure,
    path: String,
    packing: Packing,
    bytes_max: u64,
    bytes_left: u64,
    failed: Option<FormatError>,
}

impl<R: Read> Bounded<R> {
    pub(super) fn new(decoder: R, failure: Failure, path: &str, packing: Packing, bytes_max: u64) -> Self {
        Self {
            decoder,
            source_failure: failure,
            path: path.to_owned(),
            packing,
            bytes_max,
            bytes_left: bytes_max,
            failed: None,
        }
    }

    fn fail(&mut self, error: FormatError) -> io::Error {
        self.failed = Some(error.clone());
        error.into()
    }

    fn word(&self, error: &io::Error) -> FormatError {
        if let Some(failure) = self.source_failure.get() {
            return failure;
        }
        let protocol = self.packing.protocol().unwrap_or_default();
        let message = if error.kind() == io::ErrorKind::UnexpectedEof {
            format!("Compressed file '{}' ended before the end-of-stream marker was reached", self.path)
        } else {
            format!("Invalid {protocol} data in '{}': {error}", self.path)
        };
        FormatError::new(ErrorClass::OSError, message)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let count = match self.decoder.read(buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let worded = self.word(&error);
                return Err(self.fail(worded));
            }
        };
        let Some(left) = self.bytes_left.checked_sub(count as u64) else {
            let message = format!(
                "'{}' has more than {} bytes when decompressed; split it into smaller files",
                self.path, self.bytes_max
            );
            return Err(self.fail(FormatError::new(ErrorClass::LimitExceeded, message)));
        };
        self.bytes_left = left;
        // Until then the decoder has not touched more of its window.
        let decoded = usize::try_from(self.bytes_max - left).unwrap_or(usize::MAX);
        if let Err(error) = memory::hold(decoded / 2) {
            return Err(self.fail(error));
        }
        Ok(count)
    }
}
