//! Cells that name members of zip archives, well made and hostile ones.

use ::image::{DynamicImage, ImageFormat};
use outpost_formats::{MediaKind, Value};
use outpost_model::limits::MEDIA_FILE_BYTES_MAX;

use super::tests::{Rig, file, named, of, url};

/// The method of entries that are packed.
const DEFLATE: u16 = 8;

/// An entry as it lies in the archive, and what its headers say.
pub(crate) struct Entry<'a> {
    name: &'a str,
    content: &'a [u8],
    flags: u16,
    method: u16,
    crc32: u32,
    size: u32,
}

/// An entry whose deflated content claims to have `size` bytes.
pub(crate) fn deflated<'a>(name: &'a str, content: &'a [u8], size: u32) -> Entry<'a> {
    Entry { method: DEFLATE, size, ..entry(name, content) }
}

/// An entry that is stored as it is.
pub(crate) fn entry<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    let crc32 = content.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 },
        )
    });
    Entry {
        name,
        content,
        flags: 1 << 11,
        method: 0,
        crc32: !crc32,
        size: u32::try_from(content.len()).unwrap(),
    }
}

impl Entry<'_> {
    /// The part that both headers have.
    fn common(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(20_u16.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.method.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.crc32.to_le_bytes());
        bytes.extend(u32::try_from(self.content.len()).unwrap().to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(u16::try_from(self.name.len()).unwrap().to_le_bytes());
        bytes.extend([0; 2]);
        bytes
    }
}

pub(crate) fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let start = u32::try_from(bytes.len()).unwrap();
        let (common, name) = (entry.common(), entry.name.as_bytes());
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10], &start.to_le_bytes(), name].concat());
        bytes.extend([b"PK\x03\x04", &common[..], name, entry.content].concat());
    }
    let start = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    let length = u32::try_from(directory.len()).unwrap().to_le_bytes();
    bytes.extend([&directory[..], b"PK\x05\x06\0\0\0\0", &count, &count, &length, &start, &[0; 2]].concat());
    bytes
}

fn member(rig: &Rig, name: &str, archive: &str) -> Value {
    let Value::Str(archive) = rig.hub_path(archive) else { panic!("a path is text") };
    named(Value::str(&format!("zip://{name}::{archive}")))
}

#[test]
fn members_become_assets_whether_or_not_the_hub_has_addresses() {
    let png = file(&DynamicImage::new_rgb8(5, 3), ImageFormat::Png);
    let archive = zip(&[
        entry("a/x.png", &png),
        entry("b.wav", b"sound"),
        entry("c.mp4", b"film"),
        entry("d.pdf", b"%PDF"),
    ]);
    let (remote, _stub) = Rig::new(&[("in/media.zip", &archive)]).remote();
    for rig in [Rig::new(&[("in/media.zip", &archive)]), remote] {
        let cell = |name: &str, kind| rig.cell(&member(&rig, name, "in/media.zip"), &of(kind));
        let image = format!(r#"{{"src":"{}","height":3,"width":5}}"#, url("image.jpg"));
        assert_eq!(cell("a/x.png", MediaKind::Image), image);
        assert_eq!(rig.asset("image.jpg").content_type, "image/jpeg");
        let audio = format!(r#"[{{"src":"{}","type":"audio/wav"}}]"#, url("audio.wav"));
        assert_eq!(cell("b.wav", MediaKind::Audio), audio);
        assert_eq!(rig.asset("audio.wav").bytes, &b"sound"[..]);
        assert_eq!(cell("c.mp4", MediaKind::Video), format!(r#"{{"src":"{}"}}"#, url("video.mp4")));
        assert!(cell("d.pdf", MediaKind::Pdf).contains(r#""size_bytes":4"#));
    }
}

#[test]
fn hostile_members_are_refused_in_words() {
    let png = file(&DynamicImage::new_rgb8(5, 3), ImageFormat::Png);
    let lying = u32::try_from(MEDIA_FILE_BYTES_MAX + 1).unwrap();
    let archive = zip(&[
        Entry { flags: 1, ..entry("locked.png", &png) },
        Entry { crc32: 7, ..entry("damaged.png", &png) },
        Entry { size: u32::MAX - 1, ..entry("4gb.png", &png) },
        Entry { size: lying, ..entry("large.png", &png) },
        Entry { size: 100_000_000, ..entry("short.png", &png) },
        entry("inner.zip", b"PK"),
    ]);
    let rig = Rig::new(&[("x.zip", &archive), ("broken.zip", b"PK\x03\x04 and nothing else")]);
    for (name, path, reason) in [
        ("locked.png", "x.zip", "encrypted"),
        ("damaged.png", "x.zip", "Bad CRC-32"),
        ("4gb.png", "x.zip", "more than"),
        ("large.png", "x.zip", "more than the limit"),
        ("short.png", "x.zip", "Fewer than the 100000000 bytes"),
        ("gone.png", "x.zip", "no item named 'gone.png'"),
        ("a.png", "gone.zip", "no file 'gone.zip'"),
        ("a.png", "broken.zip", "BadZipFile"),
        ("a.png::zip://inner.zip", "x.zip", "more than one archive"),
    ] {
        let refusal = rig.refusal(&member(&rig, name, path), &of(MediaKind::Image));
        assert!(refusal.contains(reason), "{name}: {refusal}");
    }
    assert_eq!(rig.assets.paths(), Vec::<String>::new());
}
