use std::io::{self, Write};

use bytes::Bytes;

use super::decoders::Bounded;
use super::*;

const TEXT: &[u8] = b"id,text\n1,a\n2,b\n";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn bz2(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn lz4(data: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(data, 3).unwrap()
}

/// `id,text\n1,a\n2,b\n` as an xz file.
fn xz() -> Vec<u8> {
    use base64::Engine as _;
    let text =
        "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAPaWQsdGV4dAoxLGEKMixiCgB3UudsgUXGKwABKBDlC2xgH7bzfQEAAAAABFla";
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn file(path: &str, data: &[u8]) -> DataFile {
    DataFile { path: path.to_owned(), url: path.to_owned(), source: Arc::new(Bytes::copy_from_slice(data)) }
}

fn read(path: &str, data: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    open_extracted(&file(path, data))?.read_to_end(&mut out)?;
    Ok(out)
}

fn packed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a.csv.gz", gzip(TEXT)),
        ("a.csv.bz2", bz2(TEXT)),
        ("a.csv.xz", xz()),
        ("a.csv.zst", zstd(TEXT)),
        ("a.csv.lz4", lz4(TEXT)),
    ]
}

#[test]
fn extension_rules_match_the_reference_table() {
    let cases: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/parity/cases.json")).unwrap();
    let table = cases["tables"]["extraction_protocol"].as_object().unwrap();
    assert!(!table.is_empty());
    for (path, protocol) in table {
        let packing = packing(&file(path, b"plain")).unwrap();
        assert_eq!(packing.protocol(), protocol.as_str(), "{path}");
    }
}

#[test]
fn a_suffix_after_the_extension_is_cut() {
    assert_eq!(packing_of_path("train/txt.gz_1"), Some(Packing::Gzip));
    assert_eq!(packing_of_path("a.gz?dl=1"), Some(Packing::Gzip));
    assert_eq!(packing_of_path("a.txt-00001"), Some(Packing::Plain));
}

#[test]
fn known_text_extensions_are_never_sniffed() {
    assert_eq!(read("a.csv", &gzip(TEXT)).unwrap(), gzip(TEXT));
}

#[test]
fn other_extensions_are_sniffed() {
    for (_, data) in packed() {
        assert_eq!(read("a.ndjson", &data).unwrap(), TEXT);
    }
    assert_eq!(read("a.ndjson", TEXT).unwrap(), TEXT);
}

#[test]
fn every_compression_is_decoded() {
    for (path, data) in packed() {
        assert_eq!(read(path, &data).unwrap(), TEXT, "{path}");
    }
}

#[test]
fn members_streams_and_frames_are_joined() {
    for (path, data) in packed() {
        let twice = [data.clone(), data].concat();
        assert_eq!(read(path, &twice).unwrap(), [TEXT, TEXT].concat(), "{path}");
    }
}

#[test]
fn padding_and_trailing_bytes_are_ignored_where_python_ignores_them() {
    assert_eq!(read("a.gz", &[gzip(TEXT), vec![0; 700]].concat()).unwrap(), TEXT);
    assert_eq!(read("a.bz2", &[bz2(TEXT), b"junk".to_vec()].concat()).unwrap(), TEXT);
    assert_eq!(
        read("a.gz", &[gzip(TEXT), b"junk".to_vec()].concat()).unwrap_err().class,
        ErrorClass::OSError
    );
}

#[test]
fn an_empty_gzip_file_is_empty() {
    assert_eq!(read("a.gz", b"").unwrap(), b"");
}

#[test]
fn truncation_at_any_byte_is_an_os_error_or_nothing() {
    for (path, data) in packed() {
        for end in 1..data.len() {
            let error = read(path, &data[..end]).expect_err(path);
            assert_eq!(error.class, ErrorClass::OSError, "{path} cut at {end}: {error}");
        }
    }
}

#[test]
fn broken_bytes_never_panic() {
    for (path, data) in packed() {
        for at in 0..data.len() {
            let mut broken = data.clone();
            broken[at] ^= 0x55;
            if let Err(error) = read(path, &broken) {
                assert_eq!(error.class, ErrorClass::OSError, "{path} flipped at {at}: {error}");
            }
        }
    }
}

#[test]
fn archives_are_refused_by_name() {
    for (path, data) in [("a.zip", b"PK\x03\x04".as_slice()), ("a.bin", b"PK\x05\x06"), ("a.bin", b"Rar!")] {
        let error = read(path, data).unwrap_err();
        assert_eq!(error.class, ErrorClass::NotImplementedError);
        assert!(error.message.contains("Extraction protocol '"), "{error}");
    }
    let error = read("a.tar.gz", &gzip(TEXT)).unwrap_err();
    assert_eq!(error.class, ErrorClass::NotImplementedError);
    assert!(error.message.starts_with("Extraction protocol for TAR archives like 'a.tar.gz'"));
}

#[test]
fn more_decoded_bytes_than_the_bound_are_refused() {
    let failure = source_reader::Failure::default();
    let mut reader = Bounded::new(io::repeat(b'x'), failure, "a.gz", Packing::Gzip, 1000);
    let mut out = Vec::new();
    let error = FormatError::from(reader.read_to_end(&mut out).unwrap_err());
    assert_eq!(error.class, ErrorClass::LimitExceeded);
    assert!(out.len() <= 1000);
}

/// A source that breaks after its first bytes.
struct Broken(Vec<u8>);

impl ByteSource for Broken {
    fn len(&self) -> u64 {
        1 << 40
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = self.0.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        if rest.is_empty() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

#[test]
fn a_failing_source_keeps_its_class_through_every_decoder() {
    for (path, data) in packed() {
        let source = Arc::new(Broken(data[..data.len() - 6].to_vec()));
        let mut reader =
            open_extracted(&DataFile { path: path.to_owned(), url: path.to_owned(), source }).unwrap();
        let error = FormatError::from(reader.read_to_end(&mut Vec::new()).unwrap_err());
        assert_eq!(error.class, ErrorClass::ConnectionError, "{path}: {error}");
    }
}

/// A source that counts what is asked of it.
#[derive(Default)]
struct Recorder(std::sync::Mutex<Vec<(u64, usize)>>);

impl ByteSource for Recorder {
    fn len(&self) -> u64 {
        20 << 20
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push((offset, buffer.len()));
        Ok(buffer.len())
    }
}

#[test]
fn read_ahead_starts_small_and_doubles_up_to_the_maximum() {
    let source = Arc::new(Recorder::default());
    let total = io::copy(&mut SourceReader::new(Arc::<Recorder>::clone(&source)), &mut io::sink()).unwrap();
    assert_eq!(total, 20 << 20);
    let blocks = source.0.lock().unwrap();
    assert_eq!(blocks[0], (0, limits::READ_BLOCK_BYTES_MIN));
    assert_eq!(blocks[1], (limits::READ_BLOCK_BYTES_MIN as u64, 2 * limits::READ_BLOCK_BYTES_MIN));
    assert_eq!(blocks.iter().map(|block| block.1).max(), Some(limits::READ_BLOCK_BYTES_MAX));
}
