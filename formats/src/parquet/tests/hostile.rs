//! Files that are broken or lie: every one ends in an error or in rows, within bounds.

use std::io::Write;
use std::sync::Arc;

use ::parquet::basic::{Compression, GzipLevel};
use ::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use flate2::write::GzEncoder;
use outpost_model::limits;

use super::{batch, write};
use crate::golden::{self, data_file};
use crate::parquet::Parquet;
use crate::parquet::codec::decompress;
use crate::parquet::page_header::parse;
use crate::parquet::thrift::HeaderError;
use crate::{ErrorClass, FormatError, Module, Params};

fn read(bytes: Vec<u8>) -> Result<usize, FormatError> {
    golden::read(&Parquet, &[data_file("a.parquet", bytes)], &Params::new(), 100).map(|(_, rows)| rows.len())
}

#[test]
fn files_that_are_too_short_say_so_as_pyarrow_does() {
    let message = |bytes: &[u8]| read(bytes.to_vec()).unwrap_err().to_string();
    assert_eq!(message(b""), "ArrowInvalid: Parquet file size is 0 bytes");
    assert_eq!(
        message(b"PAR1"),
        "ArrowInvalid: Parquet file size is 4 bytes, smaller than the minimum file footer (8 bytes)"
    );
    assert_eq!(
        message(b"PAR1\xff\xff\0\0PAR1"),
        "ArrowInvalid: Parquet file size is 12 bytes, smaller than the size reported by footer's (65535bytes)"
    );
    assert!(message(b"PAR1abcdefgh\x08\0\0\0PARE").contains("encrypted"));
}

#[test]
fn a_claimed_footer_of_gigabytes_is_refused_before_it_is_read() {
    let mut bytes = vec![0; 40_000_000];
    bytes.extend_from_slice(&30_000_000_u32.to_le_bytes());
    bytes.extend_from_slice(b"PAR1");
    assert_eq!(read(bytes).unwrap_err().class, ErrorClass::LimitExceeded);
}

#[test]
fn a_page_that_grows_beyond_its_stated_size_is_stopped() {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&vec![0; 50_000_000]).unwrap();
    let bomb = encoder.finish().unwrap();
    let mut plain = Vec::new();
    let codec = Compression::GZIP(GzipLevel::default());
    assert!(decompress(codec, &bomb, 1_000, &mut plain).is_err());
    assert!(plain.capacity() < 1_000_000);
}

#[test]
fn stated_sizes_that_no_input_reaches_take_no_memory() {
    for codec in [Compression::LZ4_RAW, Compression::LZ4] {
        let mut plain = Vec::new();
        assert!(decompress(codec, b"0123456789", 200_000_000, &mut plain).is_err());
        assert!(plain.capacity() < 1_000_000, "{codec:?}");
    }
}

#[test]
fn headers_that_end_early_ask_for_more_bytes() {
    // Type 0, 10 bytes plain and compressed, a data page of 5 values, PLAIN and RLE.
    let header =
        [0x15, 0x00, 0x15, 0x14, 0x15, 0x14, 0x2c, 0x15, 0x0a, 0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0, 0];
    let (found, len) = parse(&header).unwrap();
    assert_eq!((found.compressed_len, found.uncompressed_len, len), (10, 10, header.len()));
    for end in 0..header.len() {
        assert_eq!(parse(&header[..end]), Err(HeaderError::Short), "{end}");
    }
    assert!(matches!(parse(&[0x15, 0x01, 0x15, 0x01, 0x15, 0x01, 0]), Err(HeaderError::Broken(_))));
}

/// Random edits of small files: nothing panics, whatever the answer is.
#[test]
fn damaged_files_fail_without_a_panic() {
    let properties = || WriterProperties::builder().set_data_page_row_count_limit(10).set_write_batch_size(5);
    let files = [
        write(&batch(30), properties()),
        write(&batch(30), properties().set_writer_version(WriterVersion::PARQUET_2_0)),
        write(&batch(30), properties().set_compression(Compression::SNAPPY)),
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut failures = 0;
    for round in 0..6_000 {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        failures += usize::from(read(bytes).is_err());
    }
    assert!(failures > 1_000);
}

/// A file of these columns of binary, each a page that takes little space until it is decompressed.
fn wide_pages(columns: usize, page_bytes: usize) -> Vec<u8> {
    let cell: ArrayRef = Arc::new(BinaryArray::from(vec![vec![0; page_bytes].as_slice()]));
    let columns = (0..columns).map(|index| (format!("c{index}"), Arc::clone(&cell)));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None);
    write(&batch, properties)
}

#[test]
fn pages_of_all_columns_together_are_bounded() {
    let page_bytes = limits::PARQUET_PAGES_BYTES_MAX / 8;
    let first = |columns| {
        let file = data_file("a.parquet", wide_pages(columns, page_bytes));
        Parquet.open(&file, &Params::new(), None).unwrap().next_table(1)
    };
    assert_eq!(first(4).unwrap().unwrap().rows.len(), 1);
    let error = first(8).unwrap_err();
    assert_eq!(error.class, ErrorClass::LimitExceeded);
    assert!(error.message.contains("smaller pages"), "{error}");
}

/// A footer whose schema is a chain of `depth` structs over one column, and nothing else.
fn nested(depth: usize) -> Vec<u8> {
    let element = |members: &[u8]| [members, &[0]].concat();
    let root = element(b"\x48\x01s\x15\x02");
    let group = element(b"\x35\x00\x18\x01g\x15\x02");
    let leaf = element(b"\x15\x04\x25\x00\x18\x01x");
    let count = u16::try_from(depth + 2).unwrap();
    let varint = [count as u8 & 0x7f | 0x80, (count >> 7) as u8 & 0x7f | 0x80, (count >> 14) as u8];
    let schema = [root, group.repeat(depth), leaf].concat();
    let footer = [&b"\x15\x02\x19\xfc"[..], &varint, &schema, b"\x16\x00\x19\x0c\x00"].concat();
    let len = u32::try_from(footer.len()).unwrap().to_le_bytes();
    [b"PAR1", &footer[..], &len, b"PAR1"].concat()
}

#[test]
fn schemas_nested_deeper_than_a_stack_bears_are_refused_and_others_are_read() {
    for depth in [200, 10_000] {
        let error = read(nested(depth)).unwrap_err();
        assert_eq!(error.class, ErrorClass::LimitExceeded, "{error}");
        assert!(error.to_string().contains("nested more than"), "{error}");
    }
    assert_eq!(read(nested(60)), Ok(0));
}
