//! Members with binary content: what `datasets` 5.0.0 made of them with msgpack 1.2 and cbor 1.0, and hostile ones.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value as Json, json};

use super::*;
use crate::features::Feature;

/// Two samples with one member each, both with this content.
fn pair(field: &str, content: &[u8]) -> Vec<u8> {
    ended(files(&[(&format!("1.{field}"), content), (&format!("2.{field}"), content)]))
}

/// The type and the first cell of the column.
fn cell(field: &str, content: &[u8]) -> Result<(Feature, Value), FormatError> {
    let tar = pair(field, content);
    let features = features(&file(tar.clone()))?;
    let at = features.0.iter().position(|(name, _)| &**name == field).unwrap();
    let value = rows(tar)?.remove(0).swap_remove(at);
    Ok((features.0[at].1.clone(), value))
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::UInt(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Str(text) => json!(&**text),
        Value::Bytes(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "bytes": hex })
        }
        Value::List(items) => items.iter().map(json).collect(),
        Value::Struct(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.to_string(), json(value))).collect())
        }
        other => panic!("{other:?} does not occur"),
    }
}

/// Numbers by value: where tensors of several types meet, the original shows 1 and Arrow's type says 1.0.
fn is_same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| is_same(value, other)))
        }
        (Json::Number(left), Json::Number(right)) if left.is_f64() || right.is_f64() => {
            left.as_f64() == right.as_f64()
        }
        _ => left == right,
    }
}

#[test]
fn binary_members_are_decoded_as_python_decodes_them() {
    let cases: Vec<Json> =
        serde_json::from_str(include_str!("../../../../tests/parity/webdataset_members.json")).unwrap();
    assert!(cases.len() > 100);
    let mut differences = Vec::new();
    for case in &cases {
        let content = BASE64_STANDARD.decode(case["content"].as_str().unwrap()).unwrap();
        let found = match cell(case["field"].as_str().unwrap(), &content) {
            Ok((feature, value)) => json!({ "features": feature.to_json(), "value": json(&value) }),
            Err(error) => json!({ "error": error.class.to_string() }),
        };
        let mut expected = case.clone();
        for key in ["name", "field", "content"] {
            expected.as_object_mut().unwrap().remove(key);
        }
        if !is_same(&found, &expected) {
            differences.push(format!("{}: {found} instead of {expected}", case["name"]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn deep_members_are_refused() {
    for (field, opening) in [("mp", 0x91), ("cbor", 0x81), ("cbor", 0x9f), ("cbor", 0xc1)] {
        let error = cell(field, &vec![opening; 1_000_000]).unwrap_err();
        assert_eq!(error.class, ErrorClass::LimitExceeded, "{field} {opening:x}");
    }
}

#[test]
fn members_of_very_many_values_are_refused() {
    let count = u32::try_from(limits::CELL_VALUES_MAX).unwrap();
    for (field, head) in [("mp", 0xdd), ("cbor", 0x9a)] {
        let mut content = vec![head];
        content.extend(count.to_be_bytes());
        content.resize(content.len() + limits::CELL_VALUES_MAX, 0);
        assert_eq!(cell(field, &content).unwrap_err().class, ErrorClass::LimitExceeded, "{field}");
    }
}

#[test]
fn keys_of_bytes_are_names() {
    for (field, content) in [("mp", &b"\x81\xc4\x01k\x05"[..]), ("cbor", &b"\xa1\x41k\x05"[..])] {
        let expected = Value::Struct(vec![("k".into(), Value::Int(5))]);
        assert_eq!(cell(field, content).unwrap().1, expected, "{field}");
    }
}

#[test]
fn what_follows_a_document_is_refused_in_message_pack() {
    assert_eq!(cell("mp", b"\x01\x02").unwrap_err().message, "unpack(b) received extra data.");
    assert_eq!(cell("mp", b"\xc1").unwrap_err().class, ErrorClass::ValueError);
}

fn chunk(content: &[u8]) -> Vec<u8> {
    let mut chunk = b"~TenBin~".to_vec();
    chunk.extend((content.len() as i64).to_le_bytes());
    chunk.extend(content);
    chunk.resize(16 + content.len().next_multiple_of(64), 0);
    chunk
}

#[test]
fn tensors_that_claim_too_much_are_refused() {
    let header = |lengths: &[i64]| {
        let mut header = b"i1\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        header.extend((lengths.len() as i64).to_le_bytes());
        header.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
        header
    };
    for (lengths, expected) in [
        (&[i64::MAX, i64::MAX][..], ErrorClass::ValueError),
        (&[-1], ErrorClass::ValueError),
        (&[i64::MAX, 0], ErrorClass::LimitExceeded),
        (&[1_000_000_000, 0], ErrorClass::LimitExceeded),
    ] {
        let content = [chunk(&header(lengths)), chunk(b"\x01")].concat();
        assert_eq!(cell("ten", &content).unwrap_err().class, expected, "{lengths:?}");
    }
    let mut claimed = b"~TenBin~".to_vec();
    claimed.extend(i64::MIN.to_le_bytes());
    assert_eq!(cell("tb", &claimed).unwrap_err().class, ErrorClass::ValueError);
}

#[test]
fn arrays_of_an_archive_share_one_budget() {
    let zeros = limits::CELL_VALUES_MAX / 2 + 1;
    let mut array = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{{'descr': '|b1', 'fortran_order': False, 'shape': ({zeros},), }}");
    array.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    array.extend(header.as_bytes());
    array.resize(array.len() + zeros, 0);
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for name in ["a.npy", "b.npy"] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&array).unwrap();
    }
    let content = archive.finish().unwrap().into_inner();
    assert_eq!(cell("npz", &content).unwrap_err().class, ErrorClass::LimitExceeded);
}

#[test]
fn an_archive_of_arrays_that_unpacks_beyond_the_bound_is_refused() {
    let mut archive = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    archive.start_file("a.txt", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&vec![0; limits::SAMPLE_BYTES_MAX + 1]).unwrap();
    let content = archive.finish().unwrap().into_inner();
    let packed = pack(&content, "gz");
    assert_eq!(cell("npz.gz", &packed).unwrap_err().class, ErrorClass::LimitExceeded);
}

#[test]
fn any_cut_and_any_changed_byte_of_a_binary_member_ends_in_a_value_or_an_error() {
    let cases: Vec<Json> =
        serde_json::from_str(include_str!("../../../../tests/parity/webdataset_members.json")).unwrap();
    for case in cases.iter().filter(|case| case["content"].as_str().is_some_and(|text| text.len() < 400)) {
        let content = BASE64_STANDARD.decode(case["content"].as_str().unwrap()).unwrap();
        let decode = |content: Vec<u8>| {
            let name = format!("a.{}", case["field"].as_str().unwrap());
            let _ = super::super::decode::decode(&name, content, limits::SAMPLE_BYTES_MAX);
        };
        for at in 0..content.len() {
            decode(content[..at].to_vec());
            for bits in [0xff, 0x01, 0x80] {
                let mut changed = content.clone();
                changed[at] ^= bits;
                decode(changed);
            }
        }
    }
}
