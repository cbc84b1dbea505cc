//! Golden cases, both layouts, and hostile files.

use std::sync::Arc;

use arrow_array::types::{Int8Type, Int64Type};
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, ListArray, NullArray, RecordBatch, StringArray};
use arrow_buffer::OffsetBuffer;
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field};
use serde_json::json;

use super::Arrow;
use crate::golden::{self, data_file};
use crate::{ErrorClass, FormatError, Module, Params};

#[test]
fn the_golden_cases_read_as_the_original_reads_them() {
    let cases = golden::cases("arrow_");
    assert!(!cases.is_empty());
    for case in &cases {
        let (features, rows) = golden::read(&Arrow, &case.files, &Params::new(), 30).unwrap();
        assert_eq!(features.unwrap().to_json(), case.split["features"], "{}", case.name);
        assert_eq!(serde_json::Value::from(rows), case.split["rows"], "{}", case.name);
    }
}

fn batch(rows: i64) -> RecordBatch {
    let ids: Int64Array = (0..rows).map(|id| (id != 1).then_some(id)).collect();
    let texts: StringArray = (0..rows).map(|row| Some("word ".repeat(20) + &row.to_string())).collect();
    let words: DictionaryArray<Int8Type> = (0..rows).map(|row| ["x", "y"][(row % 2) as usize]).collect();
    let lists = (0..rows).map(|row| Some(vec![Some(row), None]));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(ids)),
        ("text", Arc::new(texts)),
        ("word", Arc::new(words)),
        ("list", Arc::new(lists)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn options(compression: Option<CompressionType>) -> IpcWriteOptions {
    IpcWriteOptions::default().try_with_compression(compression).unwrap()
}

fn stream(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let schema = batches[0].schema();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options(compression)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn file(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let schema = batches[0].schema();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &schema, options(compression)).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    drop(writer);
    bytes
}

fn read(bytes: Vec<u8>, limit: usize) -> Result<golden::Read, FormatError> {
    golden::read(&Arrow, &[data_file("a.arrow", bytes)], &Params::new(), limit)
}

#[test]
fn streams_and_files_read_alike_whatever_their_compression() {
    let batches = [batch(3), batch(2)];
    let (features, rows) = read(stream(&batches, None), 10).unwrap();
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[1]["id"], json!(null));
    assert_eq!((&rows[1]["word"], &rows[4]["word"]), (&json!("y"), &json!("y")));
    assert_eq!(rows[2]["list"], json!([2, null]));
    assert_eq!(features.as_ref().unwrap().to_json()["word"], json!({"dtype": "string", "_type": "Value"}));
    for compression in [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)] {
        for bytes in [stream(&batches, compression), file(&batches, compression)] {
            let found = read(bytes, 10).unwrap();
            assert_eq!((&found.0, &found.1), (&features, &rows), "{compression:?}");
        }
    }
}

#[test]
fn a_table_is_a_record_batch() {
    let source = data_file("a.arrow", stream(&[batch(5), batch(4)], None));
    let mut reader = Arrow.open(&source, &Params::new(), None).unwrap();
    let mut counts = Vec::new();
    while let Some(table) = reader.next_table(2).unwrap() {
        counts.push((table.rows.len(), table.row_count));
    }
    assert_eq!(counts, [(2, 5), (2, 4)]);
}

#[test]
fn a_stream_may_end_without_its_mark_but_not_within_a_message() {
    let bytes = stream(&[batch(3)], None);
    let unmarked = bytes[..bytes.len() - 8].to_vec();
    assert_eq!(read(unmarked, 10).unwrap().1.len(), 3);
    let cut = bytes[..bytes.len() - 60].to_vec();
    let error = read(cut, 10).unwrap_err();
    assert_eq!(error.class, ErrorClass::ArrowInvalid);
    assert!(error.message.starts_with("Expected to be able to read"), "{error}");
}

#[test]
fn other_files_are_refused_in_the_words_of_pyarrow() {
    let message = |bytes: &[u8]| read(bytes.to_vec(), 1).unwrap_err().to_string();
    assert_eq!(message(b""), "ArrowInvalid: File is too small: 0");
    assert_eq!(message(b"hello world, not arrow at all"), "ArrowInvalid: Not an Arrow file");
    let mut bytes = file(&[batch(1)], None);
    let footer_len_at = bytes.len() - 10;
    bytes[footer_len_at..footer_len_at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    assert_eq!(message(&bytes), "ArrowInvalid: File is smaller than indicated metadata size");
}

#[test]
fn a_cell_of_more_nulls_than_fit_is_refused() {
    let len = 1 << 30;
    let offsets = OffsetBuffer::new(vec![0, len].into());
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let list = ListArray::new(item, offsets, Arc::new(NullArray::new(len as usize)), None);
    let batch = RecordBatch::try_from_iter([("a", Arc::new(list) as ArrayRef)]).unwrap();
    let bytes = stream(&[batch], None);
    assert!(bytes.len() < 1_000);
    assert_eq!(read(bytes, 1).unwrap_err().class, ErrorClass::LimitExceeded);
}

/// Sizes stand as little-endian numbers in the bytes: each is replaced by absurd ones.
#[test]
fn claimed_sizes_take_no_memory() {
    let bytes = stream(&[batch(3)], Some(CompressionType::ZSTD));
    for at in (0..bytes.len() - 8).step_by(4) {
        for claim in [u64::MAX >> 1, 1 << 40, 1 << 62] {
            let mut bytes = bytes.clone();
            bytes[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            let _ = read(bytes, 10).map(|(_, rows)| assert!(rows.len() <= 10));
        }
    }
}

#[test]
fn damaged_files_fail_without_a_panic() {
    let files = [
        stream(&[batch(4)], None),
        file(&[batch(4)], None),
        stream(&[batch(4)], Some(CompressionType::LZ4_FRAME)),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
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
        failures += usize::from(read(bytes, 10).is_err());
    }
    assert!(failures > 1_000);
}
