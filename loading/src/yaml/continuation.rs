//! Lines that YAML 1.1 lets start further left than YAML 1.2 does.
//!
//! PyYAML does not look at the indentation inside brackets and quotes; the event parser does. Owns the one repair: such
//! lines are indented, which changes no value, since their leading blanks mean nothing. Gives up (`None`) on anything
//! else.

use saphyr_parser::ScanError;

/// Indents the lines that an error is about.
pub(super) fn indented(text: &str, error: &ScanError) -> Option<String> {
    let mark = error.marker();
    let lines = match error.info() {
        "invalid indentation in flow construct" => mark.line()..mark.line() + 1,
        "invalid indentation in quoted scalar" => {
            let inside = lines_inside_quotes(text, mark.index())?;
            mark.line() + 1..mark.line() + 1 + inside
        }
        _ => return None,
    };
    let blanks = " ".repeat(deepest_indentation(text) + 1);
    let mut out = String::with_capacity(text.len() + lines.len() * blanks.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        // Lines of marks count from 1.
        if lines.contains(&(index + 1)) {
            out.push_str(&blanks);
        }
        out.push_str(line);
    }
    Some(out)
}

fn deepest_indentation(text: &str) -> usize {
    text.lines().map(|line| line.len() - line.trim_start_matches(' ').len()).max().unwrap_or(0)
}

/// Line ends in the quoted scalar that starts at a character.
fn lines_inside_quotes(text: &str, start: usize) -> Option<usize> {
    let mut chars = text.chars().skip(start).peekable();
    let quote = chars.next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut lines = 0;
    while let Some(c) = chars.next() {
        match c {
            '\n' => lines += 1,
            '\\' if quote == '"' => {
                // The escaped character may end a line too.
                lines += usize::from(chars.next() == Some('\n'));
            }
            c if c == quote && quote == '\'' && chars.peek() == Some(&'\'') => {
                chars.next();
            }
            c if c == quote => return Some(lines),
            _ => {}
        }
    }
    None
}
