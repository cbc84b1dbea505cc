//! The `Link` header of paged answers.
//!
//! Owns finding `rel="next"`; anything that does not parse is no next page.

use reqwest::header::{HeaderMap, LINK};

/// The address of the next page, as sent.
pub(super) fn next_page(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

fn next_in(mut value: &str) -> Option<&str> {
    while let Some(start) = value.find('<') {
        let rest = &value[start + 1..];
        let (address, params) = rest.split_once('>')?;
        // Addresses may hold commas; parameters of `rel` do not, so the next link starts at the next `<`.
        let params = params.split('<').next().unwrap_or_default();
        if params.split([';', ',']).any(is_rel_next) {
            return Some(address);
        }
        value = rest.get(address.len() + 1..)?;
    }
    None
}

fn is_rel_next(param: &str) -> bool {
    let Some((name, value)) = param.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("rel")
        && value.trim().trim_matches('"').split_ascii_whitespace().any(|rel| rel == "next")
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn next(value: &'static str) -> Option<String> {
        let headers: HeaderMap = [(LINK, HeaderValue::from_static(value))].into_iter().collect();
        next_page(&headers).map(str::to_owned)
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(next("<https://h/a?c=1,2>; rel=\"next\"").as_deref(), Some("https://h/a?c=1,2"));
        assert_eq!(next("<x>; rel=prev, </b>; title=\"t\"; REL=next").as_deref(), Some("/b"));
        assert_eq!(next("<x>; rel=\"last next\"").as_deref(), Some("x"));
    }

    #[test]
    fn anything_else_is_no_next_page() {
        for value in ["", "<x>", "<x>; rel=prev", "<x; rel=next", "x; rel=next", "<x>; rel=nextish", "<"] {
            assert_eq!(next(value), None, "{value}");
        }
    }
}
