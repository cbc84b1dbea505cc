//! Names of assets (http-api.md section 6.2), and extensions of the paths that cells hold.
//!
//! Owns the suffix that tells the files of one cell apart. Refuses to put anything of a path into a name but a short
//! alphanumeric extension.

use std::fmt::Write;

/// Longest extension that a name takes over from a path.
const EXTENSION_CHARS_MAX: usize = 16;
/// The largest prime below 65,536.
const ADLER_MODULUS: u32 = 65_521;

/// A step on the way from a column to a value nested in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum PathStep<'a> {
    /// An item of a list.
    Item(usize),
    /// A member of a struct.
    Member(&'a str),
}

/// `base` with the suffix for the place in its cell; as it is for a cell that is not nested.
pub(super) fn name_at(base: &str, path: &[PathStep<'_>]) -> String {
    if path.is_empty() {
        base.to_owned()
    } else {
        format!("{base}-{:x}", adler32(path_text(path).as_bytes()))
    }
}

/// The path as Python's `json.dumps` writes it: `, ` between steps, ASCII only.
fn path_text(path: &[PathStep<'_>]) -> String {
    let mut text = String::from("[");
    for (position, step) in path.iter().enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        match step {
            PathStep::Item(index) => text.push_str(&index.to_string()),
            PathStep::Member(name) => push_ascii_string(name, &mut text),
        }
    }
    text.push(']');
    text
}

fn push_ascii_string(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='\u{7f}' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04x}").expect("a String takes all text");
                }
            }
        }
    }
    text.push('"');
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut low, mut high) = (1, 0);
    for byte in bytes {
        low = (low + u32::from(*byte)) % ADLER_MODULUS;
        high = (high + low) % ADLER_MODULUS;
    }
    high << 16 | low
}

/// The extension of the file that a path names, without its dot; the part before `::` of a chained path counts.
pub(super) fn extension(path: &str) -> Option<&str> {
    let file = path.split("::").next()?.rsplit('/').next()?;
    let (stem, extension) = file.rsplit_once('.')?;
    let is_plain = !extension.is_empty()
        && extension.len() <= EXTENSION_CHARS_MAX
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain && !stem.trim_start_matches('.').is_empty()).then_some(extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use PathStep::{Item, Member};

    #[test]
    fn nested_names_have_the_suffix_of_the_original() {
        let cases: [(&[PathStep<'_>], &str); 6] = [
            (&[], "image"),
            (&[Item(0)], "image-1d100e9"),
            (&[Item(1)], "image-1d300ea"),
            (&[Member("a")], "image-418015e"),
            (&[Member("a"), Item(0)], "image-88b01da"),
            (&[Member("images"), Item(0)], "image-1d9603ef"),
        ];
        for (path, name) in cases {
            assert_eq!(name_at("image", path), name);
        }
    }

    #[test]
    fn paths_are_written_as_python_writes_them() {
        let path = [Member("é\u{1f600}"), Item(10), Member("\"\\\n\u{1}\u{7f}")];
        assert_eq!(path_text(&path), "[\"\\u00e9\\ud83d\\ude00\", 10, \"\\\"\\\\\\n\\u0001\u{7f}\"]");
    }

    #[test]
    fn extensions_are_those_of_the_file_itself() {
        for (path, expected) in [
            ("a.wav", Some("wav")),
            ("hf://datasets/u/d@abc/x.y/b.MP4", Some("MP4")),
            ("zip://c.flac::hf://datasets/u/d@abc/x.zip", Some("flac")),
            ("a.tar.gz", Some("gz")),
            ("x.y/none", None),
            (".hidden", None),
            ("a.", None),
            ("a.m p", None),
            ("a.?x=1", None),
            ("a.aaaaaaaaaaaaaaaaa", None),
        ] {
            assert_eq!(extension(path), expected, "{path}");
        }
    }
}
