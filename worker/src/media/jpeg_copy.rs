//! JPEG files as they are, without their metadata.
//!
//! Owns which segments a copy keeps: those that decoding needs. Whatever else a file carries (EXIF with its places and
//! orientation, profiles, thumbnails, comments, bytes behind the image) is dropped, as it is when an image is compressed
//! again. A file that is not walked to its end has no copy.

use memchr::memchr;

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// The copy of a file; `None` when its end is missing or a segment is none that decoders know.
pub(super) fn without_metadata(file: &[u8]) -> Option<Vec<u8>> {
    let mut rest = file.strip_prefix(&START_OF_IMAGE)?;
    let mut copy = Vec::with_capacity(file.len());
    copy.extend_from_slice(&START_OF_IMAGE);
    loop {
        let marker = next_marker(&mut rest)?;
        if marker == END_OF_IMAGE {
            copy.extend_from_slice(&[0xff, END_OF_IMAGE]);
            return Some(copy);
        }
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let segment = rest.get(..length.max(2))?;
        rest = &rest[segment.len()..];
        if is_kept(marker, segment)? {
            copy.extend_from_slice(&[0xff, marker]);
            copy.extend_from_slice(segment);
        }
        if marker == START_OF_SCAN {
            let data;
            (data, rest) = rest.split_at(scan_bytes(rest)?);
            copy.extend_from_slice(data);
        }
    }
}

/// Takes the marker that follows, fill bytes before it included.
fn next_marker(rest: &mut &[u8]) -> Option<u8> {
    let filled = rest.strip_prefix(&[0xff])?;
    let at = filled.iter().position(|byte| *byte != 0xff)?;
    *rest = &filled[at + 1..];
    Some(filled[at])
}

/// Whether decoding needs a segment: tables, frames, scans, and what tells the colours. `None` for a marker that has no
/// place between segments.
fn is_kept(marker: u8, segment: &[u8]) -> Option<bool> {
    let names = |name: &[u8]| segment.get(2..).is_some_and(|content| content.starts_with(name));
    match marker {
        0xc0..=0xc2 | 0xc4 | 0xda | 0xdb | 0xdc | 0xdd => Some(true),
        0xe0 => Some(names(b"JFIF\0") && segment.len() == 16),
        0xee => Some(names(b"Adobe") && segment.len() == 14),
        0xe1..=0xef | 0xfe => Some(false),
        _ => None,
    }
}

/// Length of a scan's data: up to the marker that is neither a stuffed byte nor a restart.
fn scan_bytes(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(0xff, &data[at..])?;
        match data.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => at += 2,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JFIF: &[u8] = b"\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0";
    const EXIF: &[u8] = b"\xff\xe1\x00\x08Exif\0\0";
    const TABLE: &[u8] = b"\xff\xdb\x00\x04\x01\x02";
    const SCAN: &[u8] = b"\xff\xda\x00\x03\x01ab\xff\x00c\xff\xd0d";
    const END: &[u8] = b"\xff\xd9";

    fn file(parts: &[&[u8]]) -> Vec<u8> {
        [&[START_OF_IMAGE.as_slice()], parts].concat().concat()
    }

    #[test]
    fn what_decoding_needs_stays_and_everything_else_goes() {
        let thumbnail = b"\xff\xe0\x00\x13JFIF\0\x01\x01\0\0\x01\0\x01\x01\x01rgb";
        let full =
            [EXIF, JFIF, b"\xff\xff\xfe\x00\x04hi", TABLE, thumbnail, SCAN, EXIF, SCAN, END, b"<script>"];
        assert_eq!(without_metadata(&file(&full)), Some(file(&[JFIF, TABLE, SCAN, SCAN, END])));
    }

    #[test]
    fn files_that_end_early_or_hold_something_else_have_no_copy() {
        for parts in [
            &[JFIF, SCAN][..],
            &[TABLE],
            &[b"\xff\xdb\x00\x09\x01", END],
            &[b"\xff\xc3\x00\x03\x01", SCAN, END],
            &[b"\xff\x01", SCAN, END],
            &[b"text"],
            &[b"\xff\xff"],
        ] {
            assert_eq!(without_metadata(&file(parts)), None, "{parts:?}");
        }
        assert_eq!(without_metadata(b"GIF89a"), None);
    }
}
