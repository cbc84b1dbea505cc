//! Column chunks of one row group as pages, for the parquet crate's record reader.
//!
//! Owns the loop header, bytes, decompression. Pages are bounded before anything is read or allocated for them, those of
//! all columns together, and so are the values of a repeated column. Failures travel as `ParquetError::External` around a `FormatError`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::arrow::arrow_reader::RowGroups;
use ::parquet::basic::{Compression, Encoding};
use ::parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use bytes::Bytes;
use outpost_model::limits;

use super::codec;
use super::page_header::{self, DataV2, PageHeader, PageKind};
use super::thrift::HeaderError;
use crate::error::{ErrorClass, FormatError};
use crate::memory;
use crate::windows::Windows;

/// Read ahead at a page whose chunk is large: a header and a small page.
const LARGE_CHUNK_AHEAD_BYTES: usize = 16 * 1024;
/// Longest page header (its statistics can hold long strings).
const HEADER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One row group of an open file.
pub(super) struct RowGroup {
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) index: usize,
    pub(super) windows: Arc<Mutex<Windows>>,
    /// Bytes of the pages that its columns hold.
    pub(super) held_bytes: Arc<AtomicUsize>,
    /// The first failure to read a page, which the crates on the way reword.
    pub(super) failure: PageFailure,
}

/// A place for the first failure to read a page.
pub(super) type PageFailure = Arc<Mutex<Option<FormatError>>>;

impl RowGroup {
    fn group(&self) -> &RowGroupMetaData {
        self.metadata.row_group(self.index)
    }
}

impl RowGroups for RowGroup {
    fn num_rows(&self) -> usize {
        usize::try_from(self.group().num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, index: usize) -> ParquetResult<Box<dyn PageIterator>> {
        let pages = ColumnPages::new(self, index).map_err(external)?;
        Ok(Box::new(OneChunk(Some(Box::new(pages)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.group()))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The page reader of the only chunk of a column.
struct OneChunk(Option<Box<dyn PageReader>>);

impl Iterator for OneChunk {
    type Item = ParquetResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl PageIterator for OneChunk {}

/// Pages of one column chunk, in order.
struct ColumnPages {
    windows: Arc<Mutex<Windows>>,
    codec: Compression,
    /// Where the next header, or the page behind `header`, starts.
    at: u64,
    end: u64,
    ahead: usize,
    header: Option<PageHeader>,
    /// Values of a repeated column that may still be handed out.
    values_left: Option<u64>,
    has_dictionary: bool,
    /// Whether the last page was of version 2, which starts and ends at records.
    last_is_v2: bool,
    held: Held,
    failure: PageFailure,
}

/// What one column holds: its dictionary, and its page until the next one is read.
struct Held {
    by_group: Arc<AtomicUsize>,
    dictionary_bytes: usize,
    page_bytes: usize,
}

impl Held {
    /// Counts a page before it is read.
    fn replace_page(&mut self, header: &PageHeader, codec: Compression) -> Result<(), FormatError> {
        let compressed = if codec == Compression::UNCOMPRESSED { 0 } else { header.compressed_len };
        let bytes = compressed.saturating_add(header.uncompressed_len.max(header.compressed_len));
        let place = match header.kind {
            PageKind::Dictionary { .. } => &mut self.dictionary_bytes,
            _ => &mut self.page_bytes,
        };
        let before = std::mem::replace(place, bytes);
        self.by_group.fetch_sub(before, Ordering::Relaxed);
        let held = self.by_group.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if held > limits::PARQUET_PAGES_BYTES_MAX {
            return Err(FormatError::new(
                ErrorClass::LimitExceeded,
                format!(
                    "The pages of this Parquet file that hold its first rows have more than {} bytes together; \
                     write the file with smaller pages.",
                    limits::PARQUET_PAGES_BYTES_MAX
                ),
            ));
        }
        memory::hold(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.by_group.fetch_sub(self.dictionary_bytes + self.page_bytes, Ordering::Relaxed);
    }
}

impl ColumnPages {
    fn new(group: &RowGroup, index: usize) -> Result<Self, FormatError> {
        let chunk = group.group().column(index);
        let start = match chunk.dictionary_page_offset() {
            Some(dictionary) if dictionary > 0 => dictionary.min(chunk.data_page_offset()),
            _ => chunk.data_page_offset(),
        };
        let broken =
            || FormatError::new(ErrorClass::OSError, "Parquet column chunk lies outside of the file.");
        let at = u64::try_from(start).map_err(|_| broken())?;
        let len = u64::try_from(chunk.compressed_size()).map_err(|_| broken())?;
        let file_len = lock(&group.windows).file_len();
        let end = at.checked_add(len).filter(|end| *end <= file_len).ok_or_else(broken)?;
        let is_small = len <= limits::READ_BLOCK_BYTES_MIN as u64;
        Ok(Self {
            windows: Arc::clone(&group.windows),
            codec: chunk.compression(),
            at,
            end,
            // Small chunks lie side by side: one window serves several columns.
            ahead: if is_small { limits::READ_BLOCK_BYTES_MIN } else { LARGE_CHUNK_AHEAD_BYTES },
            header: None,
            values_left: (chunk.column_descr().max_rep_level() > 0)
                .then_some(limits::PARQUET_REPEATED_VALUES_MAX),
            has_dictionary: false,
            last_is_v2: false,
            held: Held { by_group: Arc::clone(&group.held_bytes), dictionary_bytes: 0, page_bytes: 0 },
            failure: Arc::clone(&group.failure),
        })
    }

    /// Steps to the next page that holds data or a dictionary.
    fn peek_header(&mut self) -> Result<Option<PageHeader>, FormatError> {
        while self.header.is_none() && self.at < self.end {
            let (header, len) = self.read_header()?;
            self.at += len as u64;
            let left = self.end - self.at;
            if header.compressed_len as u64 > left {
                return Err(broken_header("the page is longer than its column chunk"));
            }
            check_page_size(&header)?;
            if header.kind == PageKind::Other {
                self.at += header.compressed_len as u64;
            } else {
                self.header = Some(header);
            }
        }
        Ok(self.header.clone())
    }

    /// Keeps a failure, and hands it on in the form that the parquet crate knows.
    fn failed(&self, error: FormatError) -> ParquetError {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| error.clone());
        external(error)
    }

    fn read_header(&self) -> Result<(PageHeader, usize), FormatError> {
        let mut windows = lock(&self.windows);
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(HEADER_BYTES_MAX);
        let mut bytes = windows.peek(self.at, self.ahead)?;
        bytes.truncate(left);
        loop {
            match page_header::parse(&bytes) {
                Ok(found) => return Ok(found),
                Err(HeaderError::Short) if bytes.len() < left => {
                    let want = (bytes.len() * 2).max(self.ahead).min(left);
                    bytes = windows.read(self.at, want, want)?;
                }
                Err(HeaderError::Short) => return Err(broken_header("No more data to read")),
                Err(HeaderError::Broken(what)) => return Err(broken_header(what)),
            }
        }
    }

    fn next_page(&mut self) -> Result<Option<Page>, FormatError> {
        let Some(header) = self.peek_header()? else { return Ok(None) };
        self.header = None;
        self.held.replace_page(&header, self.codec)?;
        let body = lock(&self.windows).read(self.at, header.compressed_len, header.compressed_len)?;
        self.at += header.compressed_len as u64;
        self.check_dictionary(&header.kind)?;
        self.count_values(&header.kind)?;
        decode_page(self.codec, &header, body).map(Some)
    }

    /// The parquet crate panics where a dictionary is missing.
    fn check_dictionary(&mut self, kind: &PageKind) -> Result<(), FormatError> {
        let encoding = match kind {
            PageKind::Data { encoding, .. } => *encoding,
            PageKind::DataV2(page) => page.encoding,
            PageKind::Dictionary { .. } | PageKind::Other => {
                self.has_dictionary = true;
                return Ok(());
            }
        };
        let needs_dictionary = matches!(encoding, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        if needs_dictionary && !self.has_dictionary {
            return Err(broken_header("a page refers to a dictionary that is not there"));
        }
        Ok(())
    }

    fn count_values(&mut self, kind: &PageKind) -> Result<(), FormatError> {
        self.last_is_v2 = matches!(kind, PageKind::DataV2(_));
        let values = match kind {
            PageKind::Data { num_values, .. } => *num_values,
            PageKind::DataV2(page) => page.num_values,
            PageKind::Dictionary { .. } | PageKind::Other => 0,
        };
        if let Some(left) = &mut self.values_left {
            *left = left.checked_sub(u64::from(values)).ok_or_else(|| {
                FormatError::new(
                    ErrorClass::LimitExceeded,
                    format!(
                        "A list column of this Parquet file holds more than {} values in the first rows; \
                         write shorter lists.",
                        limits::PARQUET_REPEATED_VALUES_MAX
                    ),
                )
            })?;
        }
        Ok(())
    }
}

fn check_page_size(header: &PageHeader) -> Result<(), FormatError> {
    let largest = header.compressed_len.max(header.uncompressed_len);
    if largest > limits::PARQUET_PAGES_BYTES_MAX {
        return Err(FormatError::new(
            ErrorClass::LimitExceeded,
            format!(
                "A page of this Parquet file has {largest} bytes, more than the {} that are read; \
                 write the file with smaller pages.",
                limits::PARQUET_PAGES_BYTES_MAX
            ),
        ));
    }
    Ok(())
}

fn decode_page(codec: Compression, header: &PageHeader, body: Bytes) -> Result<Page, FormatError> {
    Ok(match header.kind.clone() {
        PageKind::Data { num_values, encoding, def_levels, rep_levels } => Page::DataPage {
            buf: plain_bytes(codec, header, body, 0)?,
            num_values,
            encoding,
            def_level_encoding: def_levels,
            rep_level_encoding: rep_levels,
            statistics: None,
        },
        PageKind::DataV2(page) => data_page_v2(codec, header, body, &page)?,
        PageKind::Dictionary { num_values, encoding, is_sorted } => Page::DictionaryPage {
            buf: plain_bytes(codec, header, body, 0)?,
            num_values,
            encoding,
            is_sorted,
        },
        PageKind::Other => return Err(broken_header("a page without values")),
    })
}

/// Version 2 keeps its levels uncompressed in front of the values.
fn data_page_v2(
    codec: Compression,
    header: &PageHeader,
    body: Bytes,
    page: &DataV2,
) -> Result<Page, FormatError> {
    let levels_len = page.def_levels_len as usize + page.rep_levels_len as usize;
    if levels_len > header.compressed_len || levels_len > header.uncompressed_len {
        return Err(broken_header("the levels are longer than their page"));
    }
    let codec = if page.is_compressed { codec } else { Compression::UNCOMPRESSED };
    Ok(Page::DataPageV2 {
        buf: plain_bytes(codec, header, body, levels_len)?,
        num_values: page.num_values,
        encoding: page.encoding,
        num_nulls: page.num_nulls,
        num_rows: page.num_rows,
        def_levels_byte_len: page.def_levels_len,
        rep_levels_byte_len: page.rep_levels_len,
        is_compressed: page.is_compressed,
        statistics: None,
    })
}

fn plain_bytes(
    codec: Compression,
    header: &PageHeader,
    body: Bytes,
    levels_len: usize,
) -> Result<Bytes, FormatError> {
    let len = header.uncompressed_len - levels_len;
    if codec == Compression::UNCOMPRESSED {
        return Ok(body);
    }
    // A page of nulls only has no values, and some writers then compress nothing.
    if len == 0 {
        return Ok(body.slice(..levels_len));
    }
    // Grown by what arrives, not by what the header claims, beyond the first megabyte.
    let mut plain = Vec::with_capacity(header.uncompressed_len.min(1 << 20));
    plain.extend_from_slice(&body[..levels_len]);
    codec::decompress(codec, &body[levels_len..], len, &mut plain)
        .map_err(|message| FormatError::new(ErrorClass::OSError, message))?;
    Ok(Bytes::from(plain))
}

fn broken_header(what: &str) -> FormatError {
    FormatError::new(
        ErrorClass::OSError,
        format!("Couldn't deserialize thrift: {what}\nDeserializing page header failed.\n"),
    )
}

impl Iterator for ColumnPages {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ColumnPages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        self.next_page().map_err(|error| self.failed(error))
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        let header = self.peek_header().map_err(|error| self.failed(error))?;
        Ok(header.map(|header| match header.kind {
            PageKind::Data { num_values, .. } => {
                PageMetadata { num_rows: None, num_levels: Some(num_values as usize), is_dict: false }
            }
            PageKind::DataV2(page) => PageMetadata {
                num_rows: Some(page.num_rows as usize),
                num_levels: Some(page.num_values as usize),
                is_dict: false,
            },
            PageKind::Dictionary { .. } | PageKind::Other => {
                PageMetadata { num_rows: None, num_levels: None, is_dict: true }
            }
        }))
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        if let Some(header) = self.peek_header().map_err(|error| self.failed(error))? {
            self.header = None;
            self.at += header.compressed_len as u64;
        }
        Ok(())
    }

    /// Answers without looking at the next page, which may never be needed.
    fn at_record_boundary(&mut self) -> ParquetResult<bool> {
        Ok(self.last_is_v2 || (self.header.is_none() && self.at >= self.end))
    }
}

/// Wraps a failure so that it survives the way through the parquet crate.
pub(super) fn external(error: FormatError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

pub(super) fn lock(windows: &Mutex<Windows>) -> std::sync::MutexGuard<'_, Windows> {
    windows.lock().unwrap_or_else(PoisonError::into_inner)
}
