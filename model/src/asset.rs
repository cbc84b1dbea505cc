//! Assets: the files that rows point to, addressed by where in a dataset they belong.
//!
//! Owns [`AssetPath`] and its public text form (http-api.md section 6.1). Refuses everything that a client or a proxy
//! could read as another path (`.` and `..` segments), names that no dataset has, and paths beyond the limits. A text
//! that does not parse names no asset.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::entry::{PUBLIC_URL_PLACEHOLDER, REVISION_PLACEHOLDER};
use crate::limits;
use crate::name::{ConfigName, DatasetName, Revision, SplitName};

/// What the original's `quote(…, safe="/")` leaves as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'_').remove(b'.').remove(b'-').remove(b'~');
/// Stands on both sides of the revision; no dataset, revision or config part of a path is read as anything else.
const SEPARATOR: &str = "--";

/// A path that breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the path of an asset: {0}")]
pub struct InvalidAssetPath(pub &'static str);

/// The rows that assets belong to: all those of one split at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssetSplit {
    /// The dataset.
    pub dataset: DatasetName,
    /// The config.
    pub config: ConfigName,
    /// The split.
    pub split: SplitName,
    /// The revision that the rows were read at.
    pub revision: Revision,
}

/// The address of an asset. Two assets of one address are the same asset, the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssetPath {
    rows: AssetSplit,
    row_idx: u64,
    column: String,
    filename: String,
}

impl AssetPath {
    /// Checks the parts and puts them together. `column` is a column name as it is in the dataset; `filename` is one
    /// name of ASCII letters, digits, `.`, `_` and `-` that does not start with a dot (section 6.2).
    ///
    /// # Errors
    /// [`InvalidAssetPath`] with the broken rule.
    pub fn new(
        rows: AssetSplit,
        row_idx: u64,
        column: &str,
        filename: &str,
    ) -> Result<Self, InvalidAssetPath> {
        check_column(column)?;
        check_filename(filename)?;
        Ok(Self { rows, row_idx, column: column.to_owned(), filename: filename.to_owned() })
    }

    /// Reads the text form: what follows `/assets/` in a URL, percent-encoded.
    ///
    /// # Errors
    /// [`InvalidAssetPath`] with the broken rule.
    pub fn parse(text: &str) -> Result<Self, InvalidAssetPath> {
        if text.len() > limits::ASSET_PATH_BYTES_MAX {
            return Err(InvalidAssetPath("it is too long"));
        }
        let segments = text.split('/').map(decode).collect::<Result<Vec<String>, _>>()?;
        let (dataset, rest) = match segments.as_slice() {
            [name, separator, rest @ ..] if separator == SEPARATOR => (name.clone(), rest),
            [namespace, name, separator, rest @ ..] if separator == SEPARATOR => {
                (format!("{namespace}/{name}"), rest)
            }
            _ => return Err(InvalidAssetPath("it does not start with a dataset and '--'")),
        };
        let [revision, separator, config, split, row_idx, column @ .., filename] = rest else {
            return Err(InvalidAssetPath("it has too few parts"));
        };
        if separator != SEPARATOR || column.is_empty() {
            return Err(InvalidAssetPath("it has not the parts of an asset's path"));
        }
        let rows = AssetSplit {
            dataset: DatasetName::new(&dataset).map_err(|error| InvalidAssetPath(error.rule))?,
            config: ConfigName::new(config).map_err(|error| InvalidAssetPath(error.rule))?,
            split: SplitName::new(split).map_err(|error| InvalidAssetPath(error.rule))?,
            revision: Revision::new(revision).map_err(|error| InvalidAssetPath(error.rule))?,
        };
        Self::new(rows, parse_row_idx(row_idx)?, &column.join("/"), filename)
    }

    /// The rows that it belongs to.
    #[must_use]
    pub fn rows(&self) -> &AssetSplit {
        &self.rows
    }

    /// The row, counted from zero in the split.
    #[must_use]
    pub fn row_idx(&self) -> u64 {
        self.row_idx
    }

    /// The top-level column.
    #[must_use]
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The name of the file.
    #[must_use]
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// The URL for a stored body: public URL and revision as the placeholders that are filled when it is read
    /// (http-api.md section 6.4).
    #[must_use]
    pub fn stored_url(&self) -> String {
        format!("{PUBLIC_URL_PLACEHOLDER}/assets/{}", self.text(REVISION_PLACEHOLDER))
    }

    fn text(&self, revision: &str) -> String {
        let AssetSplit { dataset, config, split, .. } = &self.rows;
        let [config, split, column] =
            [config.as_str(), split.as_str(), &self.column].map(|part| utf8_percent_encode(part, ESCAPED));
        let (row_idx, filename) = (self.row_idx, &self.filename);
        format!("{dataset}/{SEPARATOR}/{revision}/{SEPARATOR}/{config}/{split}/{row_idx}/{column}/{filename}")
    }
}

/// The text form with the real revision.
impl fmt::Display for AssetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(self.rows.revision.as_str()))
    }
}

/// One segment of a URL's path. An escaped slash would change the number of segments, so only a column may hold one,
/// and there it means the same as a plain one.
fn decode(segment: &str) -> Result<String, InvalidAssetPath> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| InvalidAssetPath("it is not UTF-8"))
}

fn parse_row_idx(text: &str) -> Result<u64, InvalidAssetPath> {
    let is_canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit()));
    let number = is_canonical.then(|| text.parse().ok()).flatten();
    number.ok_or(InvalidAssetPath("the row is not a number"))
}

fn check_column(column: &str) -> Result<(), InvalidAssetPath> {
    if column.chars().count() > limits::COLUMN_NAME_CHARS_MAX {
        return Err(InvalidAssetPath("the column's name is too long"));
    }
    if column.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(InvalidAssetPath("a column's name cannot hold '.' or '..' as a path segment"));
    }
    if column.contains('\0') {
        return Err(InvalidAssetPath("a column's name cannot hold NUL"));
    }
    Ok(())
}

fn check_filename(filename: &str) -> Result<(), InvalidAssetPath> {
    if filename.is_empty() || filename.len() > limits::ASSET_FILENAME_BYTES_MAX {
        return Err(InvalidAssetPath("a file name has 1 to 255 characters"));
    }
    if filename.starts_with('.') {
        return Err(InvalidAssetPath("a file name cannot start with a dot"));
    }
    if !filename.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) {
        return Err(InvalidAssetPath("a file name has only letters, digits, '.', '_' and '-'"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(dataset: &str, config: &str) -> AssetSplit {
        AssetSplit {
            dataset: DatasetName::new(dataset).unwrap(),
            config: ConfigName::new(config).unwrap(),
            split: SplitName::new("train").unwrap(),
            revision: Revision::new("abc").unwrap(),
        }
    }

    #[test]
    fn the_text_form_round_trips() {
        for (dataset, config, column, text) in [
            ("u/d", "default", "image", "u/d/--/abc/--/default/train/7/image/image.jpg"),
            ("d", "en US", "a/b", "d/--/abc/--/en%20US/train/7/a/b/image.jpg"),
            ("u/d", "--", "--", "u/d/--/abc/--/--/train/7/--/image.jpg"),
            ("u/d", "é", "%2e?#\n~", "u/d/--/abc/--/%C3%A9/train/7/%252e%3F%23%0A~/image.jpg"),
            ("u/d", "c", "", "u/d/--/abc/--/c/train/7//image.jpg"),
            (
                "u/d",
                "{dataset_git_revision}",
                "x",
                "u/d/--/abc/--/%7Bdataset_git_revision%7D/train/7/x/image.jpg",
            ),
        ] {
            let path = AssetPath::new(rows(dataset, config), 7, column, "image.jpg").unwrap();
            assert_eq!(path.to_string(), text);
            assert_eq!(AssetPath::parse(text), Ok(path));
        }
    }

    #[test]
    fn an_escaped_slash_in_a_column_is_a_slash() {
        let path = AssetPath::parse("u/d/--/abc/--/c/train/7/a%2Fb/image.jpg").unwrap();
        assert_eq!(path.column(), "a/b");
    }

    #[test]
    fn stored_urls_hold_the_placeholders() {
        let path = AssetPath::new(rows("u/d", "c"), 0, "i", "image-1d100e9.jpg").unwrap();
        assert_eq!(
            path.stored_url(),
            "{node_public_url}/assets/u/d/--/{dataset_git_revision}/--/c/train/0/i/image-1d100e9.jpg"
        );
    }

    #[test]
    fn traversal_and_malformed_paths_are_refused() {
        let long = format!("u/d/--/abc/--/c/train/7/{}/x.jpg", "x".repeat(limits::COLUMN_NAME_CHARS_MAX + 1));
        for text in [
            "",
            "u",
            "/u/d/--/abc/--/c/train/7/i/x.jpg",
            "u/d/--/abc/--/c/train/7/x.jpg",
            "u/d/--/abc/--/c/train/7/../x.jpg",
            "u/d/--/abc/--/c/train/7/%2e%2E/x.jpg",
            "u/d/--/abc/--/c/train/7/a%2F..%2Fb/x.jpg",
            "u/d/--/abc/--/c/train/7/./x.jpg",
            "u/d/--/abc/--/c/train/7/i/..",
            "u/d/--/abc/--/c/train/7/i/..%2Fx.jpg",
            "u/d/--/abc/--/c/train/7/i/.x",
            "u/d/--/abc/--/c/train/7/i/",
            "u/d/--/abc/--/c/train/07/i/x.jpg",
            "u/d/--/abc/--/c/train/+7/i/x.jpg",
            "u/d/--/abc/--/c/train/-1/i/x.jpg",
            "u/d/--/abc/--/c/train/18446744073709551616/i/x.jpg",
            "u/d/--/abc/--/../train/7/i/x.jpg",
            "u/d/--/../--/c/train/7/i/x.jpg",
            "../d/--/abc/--/c/train/7/i/x.jpg",
            "u/../d/--/abc/--/c/train/7/i/x.jpg",
            "u/d/-/abc/--/c/train/7/i/x.jpg",
            "u/d/--/abc/-/c/train/7/i/x.jpg",
            "u/d/--/abc/--/c/train/7/%FF/x.jpg",
            "u/d/--/abc/--/c/train/7/a%00b/x.jpg",
            &long,
        ] {
            assert!(AssetPath::parse(text).is_err(), "{text:?}");
        }
    }
}
