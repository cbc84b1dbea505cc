//! Archives, well made and hostile ones.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::*;
use crate::compression::open_extracted;
use crate::simple_cases::file;
use crate::source::ByteSource;

const STORED: u16 = 0;
const DEFLATE: u16 = 8;

/// What an entry of an archive says and holds.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    crc32: u32,
    size: u32,
    packed: Vec<u8>,
    /// Where the directory says that it starts, when that is a lie.
    start: Option<u32>,
}

fn entry(name: &str, method: u16, content: &[u8]) -> Entry {
    let mut checksum = flate2::Crc::new();
    checksum.update(content);
    let packed = match method {
        DEFLATE => {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        12 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
        93 => zstd::encode_all(content, 1).unwrap(),
        _ => content.to_vec(),
    };
    let size = u32::try_from(content.len()).unwrap();
    Entry { name: name.into(), flags: 1 << 11, method, crc32: checksum.sum(), size, packed, start: None }
}

impl Entry {
    /// The part that both headers have.
    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(20_u16.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.crc32.to_le_bytes());
        bytes.extend(u32::try_from(self.packed.len()).unwrap().to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }
}

fn zip(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let start = entry.start.unwrap_or(u32::try_from(bytes.len()).unwrap());
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(entry.common());
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(&entry.name);
        if entry.start.is_none() {
            bytes.extend(b"PK\x03\x04");
            bytes.extend(entry.common());
            bytes.extend(&entry.name);
            bytes.extend(&entry.packed);
        }
    }
    let start = u32::try_from(bytes.len()).unwrap();
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].concat());
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

fn zip_file(entries: &[Entry]) -> DataFile {
    file("d/a.zip", zip(entries))
}

fn read_all(source: &dyn ByteSource) -> Result<Vec<u8>, FormatError> {
    let mut content = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        match source.read_at(content.len() as u64, &mut buffer)? {
            0 => return Ok(content),
            count => content.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Reads the only member that an archive should be read for.
fn read_member(archive: &DataFile, name: &str) -> Result<Vec<u8>, FormatError> {
    let members = members(archive)?;
    let member = members.iter().find(|member| member.name == name).unwrap();
    read_all(&*open_member(archive, member)?.source)
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.name.as_str()).collect()
}

#[track_caller]
fn assert_fails<T>(outcome: Result<T, FormatError>, class: ErrorClass, message: &str) {
    let Err(error) = outcome else { panic!("{message}") };
    assert_eq!(error.class, class, "{error}");
    assert!(error.message.contains(message), "{error}");
}

#[test]
fn members_come_in_the_order_of_the_directory() {
    let archive =
        zip_file(&[entry("b.csv", STORED, b"x"), entry("d/", STORED, b""), entry("a.csv", DEFLATE, b"yy")]);
    let members = members(&archive).unwrap();
    assert_eq!(names(&members), ["b.csv", "d/", "a.csv"]);
    assert_eq!(members[2].size, 2);
    assert!(members[1].is_folder());
}

#[test]
fn a_name_that_stands_twice_counts_once_with_what_stands_last() {
    let archive =
        zip_file(&[entry("a", STORED, b"old"), entry("b", STORED, b""), entry("a", STORED, b"new")]);
    assert_eq!(names(&members(&archive).unwrap()), ["a", "b"]);
    assert_eq!(read_member(&archive, "a").unwrap(), b"new");
}

#[test]
fn files_are_read_before_folders_and_hidden_ones_not_at_all() {
    let paths =
        ["d/z.csv", "b.csv", "d/e/a.csv", "d/", "__MACOSX/b.csv", ".hid", "c/.x/a", "a.csv", "c/f", "d-/a"];
    let entries: Vec<Entry> = paths.iter().map(|path| entry(path, STORED, b"")).collect();
    let files = reading_order(members(&zip_file(&entries)).unwrap());
    assert_eq!(names(&files), ["a.csv", "b.csv", "c/f", "d/z.csv", "d/e/a.csv", "d-/a"]);
}

#[test]
fn members_are_read_whatever_packs_them() {
    let content: Vec<u8> = (0..200_000_u32).map(|at| (at / 9 % 251) as u8).collect();
    for method in [STORED, DEFLATE, 12, 93] {
        let archive =
            zip_file(&[entry("a", STORED, b"x"), entry("b", method, &content), entry("c", STORED, b"")]);
        assert_eq!(read_member(&archive, "b").unwrap(), content, "{method}");
    }
}

#[test]
fn a_member_can_be_read_again_from_any_byte() {
    let content: Vec<u8> = (0..100_000_u32).map(|at| (at / 9 % 251) as u8).collect();
    let archive = zip_file(&[entry("a", DEFLATE, &content)]);
    let member = open_member(&archive, &members(&archive).unwrap()[0]).unwrap();
    assert_eq!(member.source.len(), 100_000);
    for offset in [50_000, 10, 99_999, 0, 100_000] {
        let mut byte = [0];
        let count = member.source.read_at(offset as u64, &mut byte).unwrap();
        assert_eq!(content.get(offset), byte[..count].first(), "{offset}");
    }
}

#[test]
fn a_member_names_its_archive() {
    let archive = zip_file(&[entry("x/b.csv", STORED, b"")]);
    let member = open_member(&archive, &members(&archive).unwrap()[0]).unwrap();
    assert_eq!(member.path, "zip://x/b.csv::d/a.zip");
    assert_eq!(member.url, format!("zip://x/b.csv::{}", archive.url));
}

#[test]
fn the_first_paths_have_the_folders_that_names_imply() {
    let archive =
        zip_file(&[entry("d/e/z.csv", STORED, b""), entry("d/", STORED, b""), entry("a.csv", STORED, b"")]);
    let members = members(&archive).unwrap();
    assert_eq!(first_paths(&members, 10), ["a.csv", "d", "d/e", "d/e/z.csv"]);
    assert_eq!(first_paths(&members, 3), ["a.csv", "d", "d/e"]);
}

/// Counts what is read of a file.
struct Counting(bytes::Bytes, AtomicU64);

impl ByteSource for Counting {
    fn len(&self) -> u64 {
        self.0.as_ref().len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read_at(offset, buffer)?;
        self.1.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[test]
fn listing_reads_the_directory_and_a_member_its_own_bytes() {
    let filler = vec![7; 5_000_000];
    let bytes =
        zip(&[entry("a", STORED, &filler), entry("b", STORED, b"small"), entry("c", STORED, &filler)]);
    let source = Arc::new(Counting(bytes.into(), AtomicU64::new(0)));
    let archive = DataFile { source: Arc::<Counting>::clone(&source), ..file("a.zip", "") };
    let members = members(&archive).unwrap();
    let listing_bytes = source.1.load(Ordering::Relaxed);
    assert!(listing_bytes < 100_000);
    let member = open_member(&archive, &members[1]).unwrap();
    assert_eq!(read_all(&*member.source).unwrap(), b"small");
    assert_eq!(source.1.load(Ordering::Relaxed) - listing_bytes, 30 + 1 + 5);
}

#[test]
fn what_is_no_zip_archive_is_said_to_be_none() {
    for bytes in [&b"garbage"[..], b"", &[0; 100_000], b"PK\x05\x06"] {
        assert_fails(members(&file("a.zip", bytes)), ErrorClass::BadZipFile, "File is not a zip file");
    }
}

#[test]
fn every_cut_and_every_flipped_byte_ends_in_an_error_or_in_members() {
    let bytes = zip(&[entry("a.csv", DEFLATE, b"x\n1\n2\n"), entry("d/b.csv", STORED, b"x\n3\n")]);
    let read = |bytes: &[u8]| {
        let archive = file("a.zip", bytes);
        for member in members(&archive).unwrap_or_default() {
            if let Ok(member) = open_member(&archive, &member) {
                let _ = read_all(&*member.source);
            }
        }
    };
    for at in 0..bytes.len() {
        assert!(members(&file("a.zip", &bytes[..at])).is_err(), "{at}");
        for value in [0, 1, 0x7f, 0xff] {
            let mut broken = bytes.clone();
            broken[at] = value;
            read(&broken);
        }
    }
}

#[test]
fn sizes_that_lie_are_found_out() {
    let honest = entry("a", DEFLATE, &[7; 10_000]);
    let shorter = Entry { size: 100, ..honest.clone() };
    assert_fails(read_member(&zip_file(&[shorter]), "a"), ErrorClass::BadZipFile, "Bad CRC-32 for file 'a'");
    let longer = Entry { size: u32::MAX - 1, ..honest.clone() };
    assert_fails(read_member(&zip_file(&[longer]), "a"), ErrorClass::BadZipFile, "Fewer than the");
    let empty = Entry { size: 0, ..honest.clone() };
    assert_fails(read_member(&zip_file(&[empty]), "a"), ErrorClass::BadZipFile, "Bad CRC-32 for file 'a'");
    let damaged = Entry { crc32: 1, ..honest };
    assert_fails(read_member(&zip_file(&[damaged]), "a"), ErrorClass::BadZipFile, "Bad CRC-32 for file 'a'");
}

#[test]
fn entries_that_overlap_are_refused() {
    let honest = entry("a", DEFLATE, &[7; 10_000]);
    let twin = Entry { name: b"b".to_vec(), start: Some(0), ..honest.clone() };
    let archive = zip_file(&[honest.clone(), twin]);
    assert_fails(
        read_member(&archive, "a"),
        ErrorClass::BadZipFile,
        "Overlapped entries: 'a' (possible zip bomb)",
    );
    let behind = Entry { start: Some(u32::MAX - 1), ..honest.clone() };
    assert_fails(read_member(&zip_file(&[behind]), "a"), ErrorClass::BadZipFile, "Truncated file header");
    let inside = Entry { start: Some(3), ..entry("b", STORED, b"x") };
    assert_fails(read_member(&zip_file(&[honest, inside]), "b"), ErrorClass::BadZipFile, "Bad magic number");
}

#[test]
fn members_that_lead_out_of_the_archive_are_refused() {
    for name in ["/etc/passwd", "../a.csv", "d/../../a.csv", "d/..", "a\0b"] {
        let archive = zip_file(&[entry("ok.csv", STORED, b""), entry(name, STORED, b"")]);
        assert_fails(members(&archive), ErrorClass::BadZipFile, "is not a path inside of the zip archive");
    }
    assert!(members(&zip_file(&[entry("a..b/c...csv", STORED, b"")])).is_ok());
}

#[test]
fn passwords_and_unknown_compressions_are_refused() {
    let locked = Entry { flags: 1, ..entry("a", STORED, b"x") };
    assert_fails(read_member(&zip_file(&[locked]), "a"), ErrorClass::RuntimeError, "File 'a' is encrypted");
    let odd = Entry { method: 97, ..entry("a", STORED, b"x") };
    assert_fails(read_member(&zip_file(&[odd]), "a"), ErrorClass::NotImplementedError, "compression method");
}

#[test]
fn damaged_data_is_a_bad_zip_file() {
    let mut damaged = entry("a", DEFLATE, &[7; 10_000]);
    damaged.packed.fill(0xff);
    assert_fails(read_member(&zip_file(&[damaged]), "a"), ErrorClass::BadZipFile, "Invalid compressed data");
}

#[test]
fn a_bomb_stops_at_the_budget_of_its_archive() {
    let archive = zip_file(&[entry("a", DEFLATE, &[0; 100_000])]);
    let mut member = members(&archive).unwrap().remove(0);
    member.budget = Budget::new(99_999);
    let source = open_member(&archive, &member).unwrap().source;
    assert_fails(read_all(&*source), ErrorClass::LimitExceeded, "split it into smaller ones");
    member.size = limits::ARCHIVE_MEMBER_BYTES_MAX + 1;
    assert_fails(open_member(&archive, &member).map(|_| ()), ErrorClass::LimitExceeded, "when decompressed");
}

#[test]
fn names_are_bounded() {
    let long = entry(&"n".repeat(limits::ARCHIVE_MEMBER_NAME_BYTES_MAX + 1), STORED, b"");
    assert_fails(members(&zip_file(&[long])), ErrorClass::LimitExceeded, "has a name of 4097 bytes");
}

#[test]
fn a_claimed_number_of_members_allocates_nothing() {
    let mut bytes = zip(&[entry("a", STORED, b"")]);
    let count_at = bytes.len() - 14;
    bytes[count_at..count_at + 4].fill(0xfe);
    assert!(members(&file("a.zip", bytes)).is_err());
}

#[test]
fn names_without_the_unicode_flag_are_code_page_437() {
    let old = Entry { name: b"caf\x82.csv".to_vec(), flags: 0, ..entry("", STORED, b"x") };
    assert_eq!(names(&members(&zip_file(&[old])).unwrap()), ["caf\u{e9}.csv"]);
}

#[test]
fn a_failing_source_keeps_its_class() {
    struct Gone;
    impl ByteSource for Gone {
        fn len(&self) -> u64 {
            1_000
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
            Err(FormatError::new(ErrorClass::ConnectionError, "gone").into())
        }
    }
    let archive = DataFile { source: Arc::new(Gone), ..file("a.zip", "") };
    assert_fails(members(&archive), ErrorClass::ConnectionError, "gone");
}

/// Written to a pipe by Python: lengths behind the bytes, fields of large archives, a comment with the mark of an end record.
const STREAMED: &str = concat!(
    "UEsDBC0ACAAIAAAAIVAAAAAA//////////8FABQAYS5jc3YBABAAAAAAAAAAAAAAAAAAAAAAAKvgMuSqgGIAUEsHCLLw5HIIAAAA",
    "AAAAAAwAAAAAAAAAUEsDBC0ACAgIAAAAIVAAAAAA//////////8GABQAw6kuY3N2AQAQAAAAAAAAAAAAAAAAAAAAAACr4DLkqoBi",
    "AFBLBwiy8ORyCAAAAAAAAAAMAAAAAAAAAFBLAQItAy0ACAAIAAAAIVCy8ORyCAAAAAwAAAAFAAAAAAAAAAAAAACAAQAAAABhLmNz",
    "dlBLAQItAy0ACAgIAAAAIVCy8ORyCAAAAAwAAAAGAAAAAAAAAAAAAACAAVcAAADDqS5jc3ZQSwUGAAAAAAIAAgBnAAAArwAAABcA",
    "UEsFBiBubyBlbmQgcmVjb3JkIGhlcmU=",
);

/// Written by Python behind a script, with the end record of large archives.
const LARGE_BEHIND_A_SCRIPT: &str = concat!(
    "IyEvYmluL3NoCmV4aXQKUEsDBBQAAAAIAAAAIVCy8ORyCAAAAAwAAAAFAAAAYS5jc3ar4DLkqoBiAFBLAwQUAAAACAAAACFQsvDk",
    "cggAAAAMAAAABQAAAGIuY3N2q+Ay5KqAYgBQSwECFAMUAAAACAAAACFQsvDkcggAAAAMAAAABQAAAAAAAAAAAAAAgAEAAAAAYS5j",
    "c3ZQSwECFAMUAAAACAAAACFQsvDkcggAAAAMAAAABQAAAAAAAAAAAAAAgAErAAAAYi5jc3ZQSwYGLAAAAAAAAAAtAC0AAAAAAAAA",
    "AAACAAAAAAAAAAIAAAAAAAAAZgAAAAAAAABWAAAAAAAAAFBLBgcAAAAAvAAAAAAAAAABAAAAUEsFBgAAAAACAAIAZgAAAFYAAAAA",
    "AA==",
);

#[test]
fn archives_of_other_layouts_are_read() {
    for (archive, second) in [(STREAMED, "\u{e9}.csv"), (LARGE_BEHIND_A_SCRIPT, "b.csv")] {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, archive).unwrap();
        let archive = file("a.zip", bytes);
        assert_eq!(names(&members(&archive).unwrap()), ["a.csv", second]);
        for name in ["a.csv", second] {
            assert_eq!(read_member(&archive, name).unwrap(), b"x\n1\nx\n1\nx\n1\n");
        }
    }
}

#[test]
fn marks_of_records_all_over_a_file_end_in_an_error() {
    for marks in [&b"PK\x05\x06"[..], b"PK\x06\x06", b"PK\x01\x02PK\x05\x06", b"PK\x06\x07PK\x05\x06\0\0"] {
        let bytes = marks.repeat(1_000_000);
        assert!(members(&file("a.zip", bytes)).is_err(), "{marks:?}");
    }
}

#[test]
fn compressed_members_are_opened_and_archives_in_archives_are_not() {
    let inner = zip(&[entry("a.csv", STORED, b"x\n")]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"x\n1\n").unwrap();
    let packed = encoder.finish().unwrap();
    let archive = zip_file(&[entry("a.csv.gz", DEFLATE, &packed), entry("b.zip", STORED, &inner)]);
    let open = |member: &Member| open_extracted(&open_member(&archive, member).unwrap());
    let members = members(&archive).unwrap();
    let mut text = String::new();
    open(&members[0]).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "x\n1\n");
    assert_fails(open(&members[1]), ErrorClass::NotImplementedError, "zip://b.zip::d/a.zip");
}
