//! JSON text of a value that was read, as ujson writes it again (dataset-loading.md section 1.7, step 5).

use outpost_model::limits;

use super::lexer::{Grammar, Lexer, SyntaxError, Token};
use super::number::{self, Number};
use crate::json_text::ujson::{write_float, write_string};

/// Rewrites the value whose start was read.
pub(super) fn rewrite(lexer: &mut Lexer<'_>, token: Token<'_>, out: &mut String) -> Result<(), SyntaxError> {
    rewrite_nested(lexer, token, out, 0)
}

fn rewrite_nested(
    lexer: &mut Lexer<'_>,
    token: Token<'_>,
    out: &mut String,
    depth: usize,
) -> Result<(), SyntaxError> {
    if depth > limits::NESTING_DEPTH_MAX {
        return Err(SyntaxError::limit(format!(
            "JSON values are nested more than {} levels deep; flatten them.",
            limits::NESTING_DEPTH_MAX
        )));
    }
    match token {
        Token::Null | Token::NonFinite(_) => out.push_str("null"),
        Token::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Token::Number(text) => rewrite_number(text, out),
        Token::Quote => write_string(&String::from_utf8_lossy(&lexer.string()?.unescaped()), out),
        Token::OpenArray => {
            out.push('[');
            let mut more = lexer.first_item();
            while more {
                let token = lexer.token()?;
                rewrite_nested(lexer, token, out, depth + 1)?;
                more = lexer.next_item()?;
                out.push_str(if more { "," } else { "" });
            }
            out.push(']');
        }
        Token::OpenObject => rewrite_object(lexer, out, depth)?,
    }
    Ok(())
}

fn rewrite_object(lexer: &mut Lexer<'_>, out: &mut String, depth: usize) -> Result<(), SyntaxError> {
    out.push('{');
    let mut more = lexer.object_name(true)?;
    while more {
        write_string(&String::from_utf8_lossy(&lexer.string()?.unescaped()), out);
        out.push(':');
        lexer.colon()?;
        let token = lexer.token()?;
        rewrite_nested(lexer, token, out, depth + 1)?;
        more = lexer.next_member()? && lexer.object_name(false)?;
        out.push_str(if more { "," } else { "" });
    }
    out.push('}');
    Ok(())
}

fn rewrite_number(text: &[u8], out: &mut String) {
    match number::read_ujson(text) {
        Ok(Number::Int(value)) => out.push_str(&value.to_string()),
        Ok(Number::UInt(value)) => out.push_str(&value.to_string()),
        Ok(Number::Float(value)) => write_float(value, out),
        // The scan refused integers out of range.
        Err(_) => out.push_str("null"),
    }
}

/// Whether ujson reads a text as a whole.
pub(super) fn is_readable(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text, Grammar::Ujson);
    let mut rewritten = String::new();
    let read = lexer.token().and_then(|token| rewrite(&mut lexer, token, &mut rewritten));
    read.and_then(|()| lexer.end_of_text()).is_ok()
}
