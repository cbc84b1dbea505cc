//! From a stored body to the bytes that are sent: asset URLs filled in, pages cut out of first rows.
//!
//! Owns the two placeholders (http-api.md section 6.4) and the shape of `/rows` (section 5.2). Runs when the ready
//! cache is filled, never per read. A placeholder counts only inside the value of a `"src"` member, so that cells
//! that happen to hold its text stay as they are. A body that is not first rows is an error of the store.

use bytes::Bytes;
use memchr::memmem;
use outpost_model::{PUBLIC_URL_PLACEHOLDER, REVISION_PLACEHOLDER, Revision, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::params::Page;

/// Opens every URL of an asset. Inside a JSON string the quotes would be escaped, so this is always a member.
const SRC_MEMBER: &[u8] = b"\"src\":\"";

/// Fills the placeholders of `body`; the same bytes when it has none.
#[must_use]
pub fn fill_placeholders(body: &Bytes, revision: &Revision, public_url: &str) -> Bytes {
    let has = |placeholder: &str| memmem::find(body, placeholder.as_bytes()).is_some();
    if !has(REVISION_PLACEHOLDER) && !has(PUBLIC_URL_PLACEHOLDER) {
        return body.clone();
    }
    let mut filled = Vec::with_capacity(body.len() + body.len() / 8);
    let mut rest = &body[..];
    while let Some(at) = memmem::find(rest, SRC_MEMBER) {
        let (before, url_on) = rest.split_at(at + SRC_MEMBER.len());
        filled.extend_from_slice(before);
        let end = memchr::memchr(b'"', url_on).unwrap_or(url_on.len());
        let (url, after) = url_on.split_at(end);
        let url = String::from_utf8_lossy(url);
        let url = url.replacen(PUBLIC_URL_PLACEHOLDER, public_url, 1);
        filled.extend_from_slice(url.replacen(REVISION_PLACEHOLDER, revision.as_str(), 1).as_bytes());
        rest = after;
    }
    filled.extend_from_slice(rest);
    Bytes::from(filled)
}

#[derive(Deserialize)]
struct FirstRows<'a> {
    #[serde(borrow)]
    features: &'a RawValue,
    #[serde(borrow)]
    rows: Vec<&'a RawValue>,
    truncated: bool,
}

#[derive(Deserialize)]
struct RowHead<'a> {
    #[serde(borrow)]
    truncated_cells: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct RowsPage<'a> {
    features: &'a RawValue,
    rows: &'a [&'a RawValue],
    num_rows_total: Option<usize>,
    num_rows_per_page: usize,
    partial: bool,
}

/// What a page cut out of first rows came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CutPage {
    /// The body of the page.
    Body(Bytes),
    /// The page reaches rows that are not there in full.
    Beyond {
        /// Rows from the start of the split that are there in full.
        precomputed: usize,
    },
}

/// Cuts `page` out of the body of a `split-first-rows` entry.
///
/// # Errors
/// When the body is not one.
pub fn cut_page(first_rows: &[u8], page: Page) -> Result<CutPage, serde_json::Error> {
    let source: FirstRows<'_> = serde_json::from_slice(first_rows)?;
    let available = source.rows.len();
    let start = usize::try_from(page.offset).unwrap_or(usize::MAX).min(available);
    let wanted_end = usize::try_from(page.offset).unwrap_or(usize::MAX).saturating_add(page.length);
    let end = wanted_end.min(available).max(start);
    let reaches_beyond = source.truncated && page.length > 0 && wanted_end > available;
    let in_full = rows_in_full(&source.rows)?;
    if reaches_beyond || (end > start && end > in_full) {
        return Ok(CutPage::Beyond { precomputed: in_full });
    }
    let body = serde_json::to_vec(&RowsPage {
        features: source.features,
        rows: &source.rows[start..end],
        num_rows_total: (!source.truncated).then_some(available),
        num_rows_per_page: limits::ROWS_PER_PAGE_MAX,
        partial: false,
    })?;
    Ok(CutPage::Body(Bytes::from(body)))
}

/// How many rows from the start have all their cells uncut.
fn rows_in_full(rows: &[&RawValue]) -> Result<usize, serde_json::Error> {
    for (index, row) in rows.iter().enumerate() {
        let head: RowHead<'_> = serde_json::from_str(row.get())?;
        if !head.truncated_cells.is_empty() {
            return Ok(index);
        }
    }
    Ok(rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_rows(rows: usize, truncated: bool) -> String {
        let rows: Vec<String> = (0..rows)
            .map(|i| format!(r#"{{"row_idx":{i},"row":{{"a":{i}}},"truncated_cells":[]}}"#))
            .collect();
        let rows = rows.join(",");
        format!(
            r#"{{"dataset":"u/d","config":"c","split":"s","features":[],"rows":[{rows}],"truncated":{truncated}}}"#
        )
    }

    fn cut(body: &str, offset: u64, length: usize) -> CutPage {
        cut_page(body.as_bytes(), Page { offset, length }).unwrap()
    }

    fn body(text: &str) -> CutPage {
        CutPage::Body(Bytes::from(text.to_owned()))
    }

    #[test]
    fn a_page_of_a_complete_split_knows_the_total() {
        let source = first_rows(3, false);
        assert_eq!(
            cut(&source, 1, 1),
            body(
                r#"{"features":[],"rows":[{"row_idx":1,"row":{"a":1},"truncated_cells":[]}],"num_rows_total":3,"num_rows_per_page":100,"partial":false}"#
            )
        );
        let empty =
            body(r#"{"features":[],"rows":[],"num_rows_total":3,"num_rows_per_page":100,"partial":false}"#);
        assert_eq!(cut(&source, 3, 100), empty);
        assert_eq!(cut(&source, u64::MAX, 100), empty);
        assert_eq!(cut(&source, 0, 0), empty);
    }

    #[test]
    fn a_page_beyond_the_precomputed_rows_is_refused() {
        let source = first_rows(3, true);
        assert!(matches!(cut(&source, 0, 3), CutPage::Body(_)));
        assert_eq!(cut(&source, 0, 4), CutPage::Beyond { precomputed: 3 });
        assert_eq!(cut(&source, 3, 1), CutPage::Beyond { precomputed: 3 });
        assert_eq!(
            cut(&source, 7, 0),
            body(
                r#"{"features":[],"rows":[],"num_rows_total":null,"num_rows_per_page":100,"partial":false}"#
            )
        );
    }

    #[test]
    fn cut_cells_are_not_passed_off_as_rows() {
        let source = first_rows(3, false)
            .replace(r#"{"a":2},"truncated_cells":[]"#, r#"{"a":"2"},"truncated_cells":["a"]"#);
        assert!(matches!(cut(&source, 0, 2), CutPage::Body(_)));
        assert_eq!(cut(&source, 0, 3), CutPage::Beyond { precomputed: 2 });
    }

    #[test]
    fn only_asset_urls_are_filled_in() {
        let revision = Revision::new("abc").unwrap();
        let stored = Bytes::from_static(
            br#"{"x":"{dataset_git_revision} \"src\":\"{node_public_url}","i":{"src":"{node_public_url}/assets/u/d/--/{dataset_git_revision}/--/i.jpg","w":1}}"#,
        );
        let filled = fill_placeholders(&stored, &revision, "https://n");
        assert_eq!(
            filled,
            &br#"{"x":"{dataset_git_revision} \"src\":\"{node_public_url}","i":{"src":"https://n/assets/u/d/--/abc/--/i.jpg","w":1}}"#[..]
        );
    }

    #[test]
    fn a_body_of_another_shape_is_an_error() {
        assert!(cut_page(b"{}", Page { offset: 0, length: 1 }).is_err());
    }
}
