//! What holds for archives that the reference cases do not have: damage, hostility, cost.

mod members;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use outpost_model::limits;

use super::WebDataset;
use crate::error::{ErrorClass, FormatError};
use crate::features::{Feature, Features, MediaKind};
use crate::module::{DataFile, Module, Params};
use crate::source::ByteSource;
use crate::value::Value;

/// A header block of a member whose content is said to have `size` bytes.
fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = kind;
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A member with its content and the filling of its last block.
fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, kind, content.len() as u64);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn files(members: &[(&str, &[u8])]) -> Vec<u8> {
    members.iter().flat_map(|(name, content)| member(name, b'0', content)).collect()
}

fn ended(mut tar: Vec<u8>) -> Vec<u8> {
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn file(tar: impl Into<Bytes>) -> DataFile {
    DataFile { path: "a.tar".into(), url: "hf://a.tar".into(), source: Arc::new(tar.into()) }
}

fn features(file: &DataFile) -> Result<Features, FormatError> {
    let mut files = std::iter::once(Ok(file.clone()));
    WebDataset.features_at_open(&mut files, &Params::new()).map(Option::unwrap)
}

fn rows(tar: Vec<u8>) -> Result<Vec<Vec<Value>>, FormatError> {
    let file = file(tar);
    let features = features(&file)?;
    let mut reader = WebDataset.open(&file, &Params::new(), Some(&features))?;
    let mut rows = Vec::new();
    while let Some(table) = reader.next_table(2)? {
        rows.extend(table.rows);
    }
    Ok(rows)
}

fn error(tar: Vec<u8>) -> (ErrorClass, String) {
    let error = rows(tar).unwrap_err();
    (error.class, error.message)
}

fn read_error(message: &str) -> (ErrorClass, String) {
    (ErrorClass::ReadError, message.to_owned())
}

fn text_column(tar: Vec<u8>) -> Vec<Value> {
    let at = features(&file(tar.clone())).unwrap().0.iter().position(|(name, _)| &**name == "txt").unwrap();
    rows(tar).unwrap().into_iter().map(|mut row| row.swap_remove(at)).collect()
}

fn pack(tar: &[u8], packing: &str) -> Vec<u8> {
    match packing {
        "gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        "bz2" => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let options = lzma_rust2::XzOptions::with_preset(0);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
    }
}

#[test]
fn packed_archives_are_known_by_their_first_bytes() {
    let tar = ended(files(&[("a.txt", b"x"), ("b.txt", b"y")]));
    for packing in ["gz", "bz2", "xz"] {
        assert_eq!(text_column(pack(&tar, packing)), [Value::str("x"), Value::str("y")], "{packing}");
    }
}

#[test]
fn a_damaged_packing_is_a_read_error() {
    let tar = ended(files(&[("a.txt", &[b'x'; 5_000]), ("b.txt", b"y")]));
    let packed = pack(&tar, "gz");
    assert_eq!(error(packed[..packed.len() / 2].to_vec()).0, ErrorClass::ReadError);
    let mut damaged = packed;
    damaged.truncate(20);
    damaged.extend([0xff; 50]);
    assert_eq!(error(damaged), read_error("invalid compressed data"));
}

#[test]
fn an_archive_without_a_first_header_is_none() {
    assert_eq!(error(Vec::new()), read_error("empty file"));
    assert_eq!(error(b"not a tar".to_vec()), read_error("truncated header"));
    assert_eq!(error(vec![b'x'; 512]), read_error("invalid header"));
    let mut changed = files(&[("a.txt", b"x")]);
    changed[0] = b'b';
    assert_eq!(error(changed), read_error("bad checksum"));
}

#[test]
fn damage_behind_a_member_ends_the_archive() {
    let mut tar = files(&[("a.txt", b"x"), ("b.txt", b"y")]);
    tar.extend([b'?'; 700]);
    assert_eq!(text_column(tar), [Value::str("x"), Value::str("y")]);
}

#[test]
fn a_member_longer_than_the_archive_is_a_read_error_however_long_it_claims_to_be() {
    for (name, size) in [("a.txt", 600), ("a.txt", 0o77_777_777_777), ("README", 1 << 32)] {
        let mut tar = header(name, b'0', size);
        tar.extend([b'x'; 512]);
        let expected = if size > limits::SAMPLE_BYTES_MAX as u64 && name == "a.txt" {
            ErrorClass::LimitExceeded
        } else {
            ErrorClass::ReadError
        };
        assert_eq!(error(tar.clone()).0, expected, "{name} {size}");
        assert_eq!(error(pack(&tar, "gz")).0, expected, "{name} {size}");
    }
}

#[test]
fn a_size_beyond_all_bounds_is_no_size() {
    let mut block = header("a.txt", b'0', 0);
    block[124..136].fill(0xff);
    block[124] = 0o200;
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert_eq!(error(block), read_error("invalid header"));
}

#[test]
fn long_names_come_from_extension_headers() {
    let name = format!("{}/a.txt", "d".repeat(300));
    let record = format!("path={name}\n");
    let record = format!("{} {record}", record.len() + 4);
    assert_eq!(record.len(), 3 + 1 + "path=\n".len() + name.len());
    for extension in [member("x", b'x', record.as_bytes()), member("L", b'L', format!("{name}\0").as_bytes())]
    {
        let mut tar = extension;
        tar.extend(files(&[("short.txt", b"x")]));
        let row = rows(ended(tar)).unwrap().remove(0);
        assert_eq!(row[0], Value::str(name.strip_suffix(".txt").unwrap()));
    }
}

#[test]
fn extension_headers_are_bounded_in_size_and_number() {
    for kind in [b'x', b'L', b'g'] {
        let tar = header("x", kind, limits::TAR_EXTENSION_BYTES_MAX + 1);
        assert_eq!(error(tar).0, ErrorClass::LimitExceeded);
        let tar: Vec<u8> = (0..=limits::TAR_EXTENSIONS_MAX).flat_map(|_| member("x", kind, b"")).collect();
        assert_eq!(error(tar).0, ErrorClass::LimitExceeded);
        assert_eq!(error(member("x", kind, b"")).0, ErrorClass::ReadError);
    }
    assert_eq!(error(member("x", b'x', b"99999999999999999999 path=a\n")), read_error("invalid header"));
}

#[test]
fn endless_entries_without_content_are_refused() {
    let folder = header("d/", b'5', 0);
    let tar = pack(&folder.repeat(limits::TAR_HEADERS_SKIPPED_MAX + 1), "gz");
    assert_eq!(error(tar).0, ErrorClass::LimitExceeded);
}

#[test]
fn links_and_folders_are_passed_over_and_sparse_files_refused() {
    let mut tar = header("a.lnk", b'2', 1 << 30);
    tar.extend(header("d/", b'5', 0));
    tar.extend(member("a.unknown", b'Z', b"content"));
    tar.extend(files(&[("a.txt", b"x")]));
    assert_eq!(text_column(ended(tar)), [Value::str("x")]);
    assert_eq!(error(member("a.txt", b'S', b"x")).0, ErrorClass::NotImplementedError);
}

#[test]
fn a_sample_has_a_bounded_number_of_members() {
    let names: Vec<String> = (0..=limits::SAMPLE_FIELDS_MAX).map(|at| format!("a.{at}")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert_eq!(error(files(&members)).0, ErrorClass::LimitExceeded);
}

#[test]
fn a_member_that_unpacks_beyond_the_bound_is_refused() {
    let bomb = pack(&vec![0; limits::SAMPLE_BYTES_MAX + 1], "gz");
    assert_eq!(error(ended(files(&[("a.bin.gz", &bomb)]))).0, ErrorClass::LimitExceeded);
}

#[test]
fn packed_members_are_decoded_by_the_extension_below() {
    let tar = ended(files(&[("a.json.gz", &pack(b"{\"x\": 1}", "gz"))]));
    let features = features(&file(tar.clone())).unwrap();
    let expected = Features(vec![("x".into(), Feature::value("int64"))]);
    assert_eq!(features.get("json.gz"), Some(&Feature::Struct(expected)));
    assert_eq!(rows(tar).unwrap()[0][2], Value::Struct(vec![("x".into(), Value::Int(1))]));
}

#[test]
fn media_are_known_by_extension_and_pickles_stay_bytes() {
    let tar =
        ended(files(&[("a.PNG", b"i"), ("a.mp3", b"a"), ("a.mpeg", b"v"), ("a.glb", b"m"), ("a.pth", b"p")]));
    let features = features(&file(tar.clone())).unwrap();
    let kind = |name: &str| match features.get(name) {
        Some(Feature::Media(media)) => Some(media.kind),
        _ => None,
    };
    assert_eq!(kind("PNG"), Some(MediaKind::Image));
    assert_eq!(kind("mp3"), Some(MediaKind::Audio));
    assert_eq!(kind("mpeg"), Some(MediaKind::Video));
    assert_eq!(kind("glb"), Some(MediaKind::Mesh));
    assert_eq!(features.get("pth"), Some(&Feature::value("binary")));
    let row = rows(tar).unwrap().remove(0);
    assert_eq!(row[2].member("path"), Some(&Value::str("a.PNG")));
    assert_eq!(row[6], Value::Bytes(b"p"[..].into()));
}

#[test]
fn later_samples_are_converted_as_python_converts() {
    let numbers = ["1", "2", "3", "4", "5", "2.7", "\"8\"", "true", "null"];
    let names: Vec<String> = (0..numbers.len()).map(|at| format!("{at}.json")).collect();
    let members: Vec<(&str, &[u8])> =
        names.iter().zip(numbers).map(|(name, number)| (name.as_str(), number.as_bytes())).collect();
    let found: Vec<Value> =
        rows(ended(files(&members))).unwrap().into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(found[5..], [Value::Int(2), Value::Int(8), Value::Int(1), Value::Null]);
}

#[test]
fn an_array_that_claims_more_than_it_holds_is_refused() {
    let array = |header: &str| {
        let mut content = b"\x93NUMPY\x01\x00".to_vec();
        content.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        content.extend(header.as_bytes());
        content.extend([0; 16]);
        error(ended(files(&[("a.npy", &content)])))
    };
    let (class, message) = array("{'descr': '<f8', 'fortran_order': False, 'shape': (4, 1000000000), }");
    assert_eq!(class, ErrorClass::ValueError);
    assert_eq!(message, "EOF: reading array data, expected 32000000000 bytes got 16");
    let (class, _) = array("{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 0), }");
    assert_eq!(class, ErrorClass::LimitExceeded);
    let (_, message) = array("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }");
    assert_eq!(message, "Object arrays cannot be loaded when allow_pickle=False");
}

#[test]
fn any_cut_and_any_changed_byte_ends_in_rows_or_an_error() {
    let tar = ended(files(&[("a.txt", b"x"), ("a.json", b"[1]"), ("b.txt", b"y"), ("b.json", b"[]")]));
    for at in (0..tar.len()).step_by(7) {
        let _ = rows(tar[..at].to_vec());
        for bits in [0xff, 0x01, 0x80] {
            let mut changed = tar.clone();
            changed[at] ^= bits;
            let _ = rows(changed);
        }
    }
}

/// Counts what is read.
struct Counted {
    content: Bytes,
    read: AtomicU64,
}

impl ByteSource for Counted {
    fn len(&self) -> u64 {
        self.content.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read_at(offset, buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[test]
fn the_first_rows_cost_what_they_hold_and_one_block() {
    let content = vec![b'x'; 20_000];
    let sample = |at: usize| files(&[(&format!("{at:05}.bin"), &content), (&format!("{at:05}.txt"), b"x")]);
    let hundred = sample(0).len() as u64 * 100;
    let tar: Vec<u8> = (0..1_000).flat_map(sample).collect();
    let source = Arc::new(Counted { content: tar.into(), read: AtomicU64::new(0) });
    let file = DataFile { path: "a.tar".into(), url: "a.tar".into(), source: Arc::<Counted>::clone(&source) };
    let features = features(&file).unwrap();
    source.read.store(0, Ordering::Relaxed);
    let mut reader = WebDataset.open(&file, &Params::new(), Some(&features)).unwrap();
    assert_eq!(reader.next_table(100).unwrap().unwrap().rows.len(), 100);
    let read = source.read.load(Ordering::Relaxed);
    assert!(read <= hundred + limits::READ_BLOCK_BYTES_MAX as u64, "{read} for {hundred}");
}

#[test]
fn members_that_no_column_asks_for_are_not_fetched() {
    let big = vec![0; 3_000_000];
    let tar = ended(files(&[("a.txt", b"x"), ("a.bin", &big), ("b.txt", b"y"), ("b.bin", &big)]));
    let source = Arc::new(Counted { content: tar.into(), read: AtomicU64::new(0) });
    let file = DataFile { path: "a.tar".into(), url: "a.tar".into(), source: Arc::<Counted>::clone(&source) };
    let features = Features(vec![("txt".into(), Feature::value("string"))]);
    let mut reader = WebDataset.open(&file, &Params::new(), Some(&features)).unwrap();
    let table = reader.next_table(100).unwrap().unwrap();
    assert_eq!(table.rows, [[Value::str("x")], [Value::str("y")]]);
    assert!(source.read.load(Ordering::Relaxed) < 1_000_000);
}
