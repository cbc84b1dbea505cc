//! The frame header of a JPEG file, without reading what follows it.
//!
//! Owns the walk over the segments before it. A file without one, or with one that says nothing usable, has no frame.

use std::io::{self, Read, Seek, SeekFrom};

/// Segments before the frame header.
const SEGMENTS_MAX: usize = 4_096;
/// Fill bytes before a marker.
const FILL_BYTES_MAX: usize = 65_536;

/// What a frame header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) components: u8,
    /// Decoding needs all coefficients in memory.
    pub(super) is_progressive: bool,
}

/// Reads the frame header of a file from its start.
pub(super) fn frame(file: &mut (impl Read + Seek)) -> io::Result<Option<Frame>> {
    if read::<2>(file)? != [0xff, 0xd8] {
        return Ok(None);
    }
    for _ in 0..SEGMENTS_MAX {
        let Some(marker) = marker(file)? else { return Ok(None) };
        match marker {
            0x01 | 0xd0..=0xd7 => continue,
            0xd8..=0xda => return Ok(None),
            _ => {}
        }
        let length = u16::from_be_bytes(read(file)?);
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => {
                let [_, h0, h1, w0, w1, components] = read(file)?;
                let (width, height) = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
                let is_progressive = matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce);
                let frame = Frame { width, height, components, is_progressive };
                return Ok((width > 0 && height > 0).then_some(frame));
            }
            _ => {}
        }
        file.seek(SeekFrom::Current(i64::from(length.max(2)) - 2))?;
    }
    Ok(None)
}

fn marker(file: &mut impl Read) -> io::Result<Option<u8>> {
    if read::<1>(file)? != [0xff] {
        return Ok(None);
    }
    for _ in 0..FILL_BYTES_MAX {
        match read::<1>(file)? {
            [0xff] => {}
            [marker] => return Ok(Some(marker)),
        }
    }
    Ok(None)
}

fn read<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn the_frame_is_found_behind_other_segments() {
        let head = b"\xff\xd8\xff\xe1\x00\x04ab\xff\xff\xc2\x00\x11\x08\x00\x02\x01\x00\x03";
        let expected = Frame { width: 256, height: 2, components: 3, is_progressive: true };
        assert_eq!(frame(&mut Cursor::new(head)).unwrap(), Some(expected));
    }

    #[test]
    fn files_without_a_frame_have_none() {
        for file in [&b"\xff\xd8\xff\xd9\0\0"[..], b"\xff\xd8\xff\xda\0\0", b"\xff\xd8ab", b"GIF89a"] {
            assert_eq!(frame(&mut Cursor::new(file)).unwrap(), None, "{file:?}");
        }
        assert!(frame(&mut Cursor::new(b"\xff\xd8\xff")).is_err());
        let endless = [&b"\xff\xd8"[..], &[0xff; 100_000]].concat();
        assert_eq!(frame(&mut Cursor::new(endless)).unwrap(), None);
    }
}
