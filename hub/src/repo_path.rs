//! Paths inside a repository.
//!
//! Owns the rule which texts can name a file or folder at all. Everything else does not exist, so that no path can
//! leave a dataset, in a URL or on disk.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What `urllib.parse.quote` leaves alone beside letters and digits.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');
const QUOTED_BUT_SLASH: &AsciiSet = &QUOTED.remove(b'/');

/// Whether `path` is relative, `/`-separated and free of empty, `.` and `..` parts and of NUL. `./x` is not
/// normalised: the Hub does not find it either (dataset-loading.md section 2.4).
pub(crate) fn is_plain(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Percent-encodes for one URL segment, `/` included.
pub(crate) fn quote(text: &str) -> String {
    utf8_percent_encode(text, QUOTED).to_string()
}

/// Percent-encodes a path, leaving `/`.
pub(crate) fn quote_path(path: &str) -> String {
    utf8_percent_encode(path, QUOTED_BUT_SLASH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_repository_are_not_plain() {
        for good in ["a", "a/b", ".hidden", "a b/é#?.csv", "..a", "a..", "%2e%2e/x"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }

    #[test]
    fn quoting_follows_the_hub_client() {
        assert_eq!(quote("refs/convert/parquet"), "refs%2Fconvert%2Fparquet");
        assert_eq!(quote_path("a b/é~_-.csv"), "a%20b/%C3%A9~_-.csv");
        assert_eq!(quote_path("%2e%2e/#?x"), "%252e%252e/%23%3Fx");
    }
}
