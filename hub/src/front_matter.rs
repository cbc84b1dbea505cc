//! The one setting of a README that a folder Hub needs: `viewer` in its front matter.
//!
//! Owns a scan for the top-level key `viewer`, no YAML parser: the loading crate reads the rest of the front matter
//! and reports what is wrong with it. It sees keys at column 0 of block style (`viewer: false`, quoted keys too) and
//! YAML 1.1 scalars; a front matter that is one flow mapping (`{viewer: false}`) counts as enabled.

/// Whether the front matter sets `viewer` to something falsy (http-api.md section 3.4).
pub(crate) fn viewer_disabled(readme: &[u8]) -> bool {
    let text = String::from_utf8_lossy(readme);
    let Some(block) = block(&text) else { return false };
    // Of repeated keys the last one wins.
    block.lines().filter_map(viewer_value).next_back().is_some_and(is_falsy)
}

/// The lines between the opening `---` and the closing one (dataset-loading.md section 3.1).
fn block(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start();
    let rest = text.strip_prefix("---")?;
    let start = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'))?;
    let mut length = 0;
    for line in start.split_inclusive('\n') {
        if line.strip_prefix("---").is_some_and(|end| end.trim_matches([' ', '\t', '\r', '\n']).is_empty()) {
            return Some(&start[..length]);
        }
        length += line.len();
    }
    None
}

fn viewer_value(line: &str) -> Option<&str> {
    let rest = ["viewer", "'viewer'", "\"viewer\""].iter().find_map(|key| line.strip_prefix(key))?;
    let value = rest.trim_start().strip_prefix(':')?;
    // `viewer:false` is a plain scalar, not a key.
    let is_key = value.is_empty() || value.starts_with([' ', '\t', '\r']);
    is_key.then(|| strip_comment(value).trim())
}

fn strip_comment(value: &str) -> &str {
    value.find(" #").or_else(|| value.find("\t#")).map_or(value, |at| &value[..at])
}

/// Falsy in Python after YAML 1.1 loading: null, false, zero, empty.
fn is_falsy(value: &str) -> bool {
    const FALSY: &[&str] = &[
        "", "~", "null", "Null", "NULL", "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF",
        "0", "0.0", "\"\"", "''", "[]", "{}",
    ];
    FALSY.contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falsy_viewer_disables() {
        for readme in [
            "---\nviewer: false\n---\n",
            "\u{feff}---\r\nlicense: mit\r\nviewer: no # comment\r\n---\r\n# Title",
            "\n\n---\nviewer:\n---",
            "---\nviewer: true\nviewer: False\n--- \n",
            "---\n\"viewer\" : ''\n---\n",
        ] {
            assert!(viewer_disabled(readme.as_bytes()), "{readme:?}");
        }
    }

    #[test]
    fn anything_else_does_not() {
        for readme in [
            "",
            "viewer: false",
            "---\nviewer: false\n",
            "# Title\n---\nviewer: false\n---\n",
            "---\nviewer: true\n---\n",
            "---\nviewer: \"false\"\n---\n",
            "---\nviewer:false\n---\n",
            "---\nnested:\n  viewer: false\n---\n",
            "---\nviewers: false\n---\n",
            "---\n---\nviewer: false\n---\n",
            "---\nviewer: false\nviewer: yes\n---\n",
        ] {
            assert!(!viewer_disabled(readme.as_bytes()), "{readme:?}");
        }
        assert!(!viewer_disabled(b"---\n\xff\xfe\n---\n"));
    }
}
