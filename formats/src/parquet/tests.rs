//! Golden cases, ranged reading, codecs and options.

mod hostile;
mod pyarrow_files;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, BinaryArray, Int64Array, ListArray, RecordBatch, StringArray};
use bytes::Bytes;
use serde_json::json;

use super::Parquet;
use crate::golden::{self, data_file};
use crate::{ByteSource, DataFile, ErrorClass, Module, Params};

/// Casts between files are not this module's: rows up to the first failed cast are.
#[test]
fn the_golden_cases_read_as_the_original_reads_them() {
    let mut seen = 0;
    for case in golden::cases("parquet_") {
        seen += 1;
        match golden::read(&Parquet, &case.files, &Params::new(), 30) {
            Ok((features, rows)) => {
                let features = features.expect("known at open").to_json();
                assert_eq!(features, case.split["features"], "{}", case.name);
                let expected = case.split["rows"].as_array().expect("rows");
                assert_eq!(&rows[..expected.len()], expected, "{}", case.name);
            }
            Err(error) => {
                let known = case.error("rows_error_after").or_else(|| case.error("splits_error"));
                assert_eq!(Some(error.to_string()), known, "{}", case.name);
            }
        }
    }
    assert!(seen >= 15);
}

/// Bytes that differ everywhere, so that no codec shrinks them much.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(step).collect()
}

fn batch(rows: usize) -> RecordBatch {
    let ids: Int64Array = (0..rows as i64).map(|id| (id % 7 != 3).then_some(id)).collect();
    let texts: StringArray = (0..rows).map(|row| Some(format!("text {}", row % 50))).collect();
    let lists = (0..rows)
        .map(|row| Some((0..row % 4).map(|item| (item != 2).then_some(item as i32)).collect::<Vec<_>>()));
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(ids)), ("text", Arc::new(texts)), ("list", Arc::new(lists))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// A file in memory that counts the bytes and requests.
struct Counted {
    bytes: Bytes,
    read: AtomicU64,
    requests: AtomicU64,
}

impl ByteSource for Counted {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read_at(offset, buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(count)
    }
}

fn counted(bytes: Vec<u8>) -> (Arc<Counted>, DataFile) {
    let source =
        Arc::new(Counted { bytes: bytes.into(), read: AtomicU64::new(0), requests: AtomicU64::new(0) });
    (Arc::clone(&source), DataFile { path: "data.parquet".into(), url: "data.parquet".into(), source })
}

fn first_rows(file: &DataFile, limit: usize) -> usize {
    let mut reader = Parquet.open(file, &Params::new(), None).unwrap();
    reader.next_table(limit).unwrap().unwrap().rows.len()
}

#[test]
fn the_first_rows_of_a_large_file_cost_a_small_share_of_its_bytes() {
    let (rows, row_bytes) = (20_000, 300);
    let columns = (0..4).map(|column| {
        let values = noise(rows * row_bytes, column + 1);
        let values: BinaryArray = values.chunks(row_bytes).map(Some).collect();
        (format!("c{column}"), Arc::new(values) as ArrayRef)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows / 10))
        .set_data_page_size_limit(16 * 1024)
        .set_write_batch_size(32)
        .set_dictionary_enabled(false);
    let bytes = write(&batch, properties);
    let len = bytes.len() as u64;
    assert!(len > 20_000_000);
    let (source, file) = counted(bytes);
    assert_eq!(first_rows(&file, 100), 100);
    let read = source.read.load(Ordering::Relaxed);
    assert!(read * 50 < len, "{read} of {len} bytes");
}

#[test]
fn columns_of_small_chunks_share_requests() {
    let columns = (0..200).map(|column| {
        let ids: Int64Array = (0..50).map(|row| row * column).collect();
        (format!("c{column}"), Arc::new(ids) as ArrayRef)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let (source, file) = counted(write(&batch, WriterProperties::builder().set_dictionary_enabled(false)));
    assert_eq!(first_rows(&file, 100), 50);
    assert!(source.requests.load(Ordering::Relaxed) < 10);
}

#[test]
fn every_codec_and_page_version_reads_the_same_rows() {
    let batch = batch(3_000);
    let plain = data_file("a.parquet", write(&batch, WriterProperties::builder()));
    let (_, expected) = golden::read(&Parquet, &[plain], &Params::new(), 3_000).unwrap();
    assert_eq!(expected.len(), 3_000);
    assert_eq!(expected[6], json!({"id": 6, "text": "text 6", "list": [0, 1]}));
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .set_data_page_row_count_limit(700)
                .set_write_batch_size(100);
            let file = data_file("b.parquet", write(&batch, properties));
            let (_, rows) = golden::read(&Parquet, &[file], &Params::new(), 3_000).unwrap();
            assert_eq!(rows, expected, "{codec:?} {version:?}");
        }
    }
}

#[test]
fn a_table_covers_a_row_group_and_the_next_one_starts_after_it() {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(40));
    let file = data_file("a.parquet", write(&batch(100), properties));
    let mut reader = Parquet.open(&file, &Params::new(), None).unwrap();
    let mut counts = Vec::new();
    while let Some(table) = reader.next_table(15).unwrap() {
        counts.push((table.rows.len(), table.row_count));
    }
    assert_eq!(counts, [(15, 40), (15, 40), (15, 20)]);
}

#[test]
fn large_values_end_a_table_early_and_no_row_is_lost() {
    let values: BinaryArray = (0..12_u8).map(|row| Some(vec![row; 6_000_000])).collect();
    let batch = RecordBatch::try_from_iter([("v", Arc::new(values) as ArrayRef)]).unwrap();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let file = data_file("a.parquet", write(&batch, properties));
    let mut reader = Parquet.open(&file, &Params::new(), None).unwrap();
    let mut sizes = Vec::new();
    while let Some(table) = reader.next_table(100).unwrap() {
        assert_eq!(table.row_count, table.rows.len());
        sizes.push(table.rows.len());
    }
    assert!(sizes.len() > 1, "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 12);
}

fn params(value: serde_json::Value) -> Params {
    match value {
        serde_json::Value::Object(params) => params,
        other => panic!("{other} is no object"),
    }
}

#[test]
fn columns_are_chosen_in_the_order_of_the_file() {
    let file = data_file("a.parquet", write(&batch(2), WriterProperties::builder()));
    let options = params(json!({"columns": ["text", "id"]}));
    let (features, rows) = golden::read(&Parquet, std::slice::from_ref(&file), &options, 1).unwrap();
    assert_eq!(features.unwrap().0.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["id", "text"]);
    assert_eq!(rows, [json!({"id": 0, "text": "text 0"})]);
    let unknown = params(json!({"columns": ["nope"]}));
    let error = Parquet.open(&file, &unknown, None).err().unwrap();
    assert!(error.message.starts_with("No match for FieldRef.Name(nope) in id: int64"), "{error}");
}

#[test]
fn row_filters_are_refused_in_words() {
    let file = data_file("a.parquet", write(&batch(2), WriterProperties::builder()));
    let error = Parquet.open(&file, &params(json!({"filters": [["id", "==", 1]]})), None).err().unwrap();
    assert_eq!(error.class, ErrorClass::NotImplementedError);
    assert!(error.message.contains("filters"));
}

#[test]
fn bad_files_are_skipped_when_the_config_says_so() {
    let bad = data_file("a.parquet", &b"this is no parquet file"[..]);
    let good = data_file("b.parquet", write(&batch(2), WriterProperties::builder()));
    let options = params(json!({"on_bad_files": "skip"}));
    let (features, rows) = golden::read(&Parquet, &[bad, good], &options, 10).unwrap();
    assert_eq!(features.unwrap().0.len(), 3);
    assert_eq!(rows.len(), 2);
}

/// A file whose row groups have these many rows of one column.
fn groups(rows: &[usize]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message m { required int64 a; }").unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    for count in rows {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values: Vec<i64> = (0..*count as i64).collect();
        column.typed::<::parquet::data_type::Int64Type>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn an_empty_first_row_group_is_an_error_and_an_empty_later_one_is_not() {
    let read = |rows: &[usize], options: &Params| {
        golden::read(&Parquet, &[data_file("a.parquet", groups(rows))], options, 10)
            .map(|(_, rows)| rows.len())
    };
    let error = read(&[0, 2], &Params::new()).unwrap_err();
    assert_eq!(error.to_string(), "ArrowInvalid: BatchSize must be greater than 0, got 0");
    assert_eq!(read(&[0, 2], &params(json!({"batch_size": 5}))), Ok(2));
    assert_eq!(read(&[2, 0, 1], &Params::new()), Ok(3));
    assert_eq!(read(&[], &Params::new()), Ok(0));
}
