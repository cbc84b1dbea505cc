//! One pass over the rows of a chunk: syntax, shapes, and where the first rows lie.
//!
//! Owns the three layouts (lines, a stream of objects, one array) under the two grammars. Keeps no values. Depth is
//! bounded by [`limits::NESTING_DEPTH_MAX`].

use std::borrow::Cow;
use std::ops::Range;

use outpost_model::limits;

use super::lexer::{Grammar, Lexer, SyntaxError, Token};
use super::number::{self, Number};
use super::paths::JsonPaths;
use super::timestamp;
use super::tree::{Duplicate, NodeId, ROOT, Tree, kind};

/// Bytes at which Arrow's reader sees no document at all.
const NO_DOCUMENT: [u8; 4] = [b',', b']', b'}', 0];

/// How rows lie in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One ujson document per line.
    Lines,
    /// Objects one after the other, as Arrow reads them.
    Stream,
    /// The items of one array, read by ujson.
    Items,
    /// The same, each as the only member `text` of a row.
    TextItems,
}

impl Layout {
    pub(super) fn grammar(self) -> Grammar {
        match self {
            Self::Stream => Grammar::Arrow,
            Self::Lines | Self::Items | Self::TextItems => Grammar::Ujson,
        }
    }
}

/// What a pass is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) layout: Layout,
    /// Whether values pass through ujson's reader and writer.
    pub(super) reencodes: bool,
    /// Whether to look for mixed values; what is below one is then not looked at.
    pub(super) finds_mixed: bool,
    pub(super) paths: &'a JsonPaths,
    /// Rows whose place is remembered.
    pub(super) row_limit: usize,
    /// Whether the text ends early, within an array.
    pub(super) is_cut: bool,
}

/// The first value of another type than those before it, as Arrow reports it.
#[derive(Debug, Clone)]
pub(super) struct TypeChange {
    pub(super) path: String,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    pub(super) row: usize,
}

/// A row that is no object, by the Python type of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RootValue(pub(super) &'static str);

/// What a pass found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) tree: Tree,
    pub(super) rows: usize,
    /// Where the first rows lie.
    pub(super) spans: Vec<Range<usize>>,
    /// Whether ujson accepted what Arrow does not, or reads otherwise.
    pub(super) has_strays: bool,
    /// Whether some object has two members of one name; ujson keeps the last.
    pub(super) has_duplicates: bool,
    pub(super) first_change: Option<TypeChange>,
    pub(super) first_root_value: Option<RootValue>,
}

/// A failed pass: the message, and what was found before it.
pub(super) struct ScanError {
    pub(super) error: SyntaxError,
    pub(super) before: Scan,
}

/// Reads all rows of a text.
pub(super) fn scan(bytes: &[u8], rules: Rules<'_>) -> Result<Scan, Box<ScanError>> {
    let scan = Scan {
        tree: Tree::new(rules.paths.trie()),
        rows: 0,
        spans: Vec::new(),
        has_strays: false,
        has_duplicates: false,
        first_change: None,
        first_root_value: None,
    };
    let mut scanner = Scanner { rules, scan };
    let done = match rules.layout {
        Layout::Lines => scanner.lines(bytes),
        Layout::Stream => scanner.stream(bytes),
        Layout::Items | Layout::TextItems => scanner.items(bytes),
    };
    match done {
        Ok(()) => Ok(scanner.scan),
        Err(error) => Err(Box::new(ScanError { error, before: scanner.scan })),
    }
}

struct Scanner<'r> {
    rules: Rules<'r>,
    scan: Scan,
}

impl Scanner<'_> {
    fn lines(&mut self, bytes: &[u8]) -> Result<(), SyntaxError> {
        for line in lines(bytes) {
            let mut lexer = Lexer::new(&bytes[line.clone()], Grammar::Ujson);
            self.value(&mut lexer, Some(ROOT), 0)?;
            lexer.end_of_text()?;
            self.scan.has_strays |= lexer.has_strays;
            self.add_row(line);
        }
        Ok(())
    }

    fn stream(&mut self, bytes: &[u8]) -> Result<(), SyntaxError> {
        let mut lexer = Lexer::new(bytes, Grammar::Arrow);
        loop {
            lexer.skip_space();
            let Some(next) = lexer.peek() else { return Ok(()) };
            if NO_DOCUMENT.contains(&next) {
                return Err(SyntaxError::Message(Cow::Borrowed("The document is empty.")));
            }
            let start = lexer.at;
            self.value(&mut lexer, Some(ROOT), 0).map_err(|error| in_row(error, self.scan.rows))?;
            self.add_row(start..lexer.at);
        }
    }

    fn items(&mut self, bytes: &[u8]) -> Result<(), SyntaxError> {
        let mut lexer = Lexer::new(bytes, Grammar::Ujson);
        lexer.eat(b'[');
        let mut more = lexer.first_item();
        while more {
            lexer.skip_space();
            let start = lexer.at;
            let read = self.array_row(&mut lexer);
            if self.rules.is_cut && read.is_err() {
                return Ok(());
            }
            read?;
            self.add_row(start..lexer.at);
            more = match lexer.next_item() {
                Err(_) if self.rules.is_cut => return Ok(()),
                next => next?,
            };
        }
        self.scan.has_strays |= lexer.has_strays;
        lexer.end_of_text()
    }

    fn array_row(&mut self, lexer: &mut Lexer<'_>) -> Result<(), SyntaxError> {
        if self.rules.layout == Layout::Items {
            return self.value(lexer, Some(ROOT), 0);
        }
        self.note(ROOT, kind::OBJECT);
        let mut row = self.scan.tree.open_object(ROOT);
        if let Ok(text) = self.scan.tree.member(&mut row, b"text")? {
            self.value(lexer, Some(text), 1)?;
        }
        self.scan.tree.close_object(&row, self.rules.reencodes)
    }

    fn add_row(&mut self, span: Range<usize>) {
        self.scan.rows += 1;
        if self.scan.spans.len() < self.rules.row_limit {
            self.scan.spans.push(span);
        }
    }

    /// Reads a value and notes it at `node`; without a node it is only checked.
    fn value(
        &mut self,
        lexer: &mut Lexer<'_>,
        node: Option<NodeId>,
        depth: usize,
    ) -> Result<(), SyntaxError> {
        if depth > limits::NESTING_DEPTH_MAX {
            return Err(SyntaxError::limit(format!(
                "JSON values are nested more than {} levels deep; flatten them.",
                limits::NESTING_DEPTH_MAX
            )));
        }
        let token = lexer.token()?;
        let Some(id) = node else { return self.check(lexer, token, depth) };
        if self.scan.tree.node(id).is_json {
            let kind = if is_null(token) { kind::NULL } else { kind::JSON };
            self.scan.tree.node_mut(id).kinds |= kind;
            return self.check(lexer, token, depth);
        }
        let kind = self.kind(lexer, token)?;
        self.note(id, kind);
        match token {
            Token::Quote => self.text(lexer, id),
            Token::OpenObject => {
                let node = self.unless_mixed(id);
                self.object(lexer, node, depth)
            }
            Token::OpenArray => {
                let item = match self.unless_mixed(id) {
                    Some(id) => Some(self.scan.tree.item(id)?),
                    None => None,
                };
                self.array(lexer, item, depth)
            }
            _ => Ok(()),
        }
    }

    /// The rest of a value that is not noted.
    fn check(&mut self, lexer: &mut Lexer<'_>, token: Token<'_>, depth: usize) -> Result<(), SyntaxError> {
        match token {
            Token::Quote => lexer.string().map(|_| ()),
            Token::OpenObject => self.object(lexer, None, depth),
            Token::OpenArray => self.array(lexer, None, depth),
            other => self.kind(lexer, other).map(|_| ()),
        }
    }

    fn unless_mixed(&self, id: NodeId) -> Option<NodeId> {
        let is_settled = self.rules.finds_mixed && id != ROOT && {
            let node = self.scan.tree.node(id);
            // An object whose keys are being read has no first keys yet.
            node.keys_differ || (node.changes_type() && node.is_mixed())
        };
        (!is_settled).then_some(id)
    }

    fn kind(&self, lexer: &mut Lexer<'_>, token: Token<'_>) -> Result<u8, SyntaxError> {
        Ok(match token {
            Token::Null => kind::NULL,
            Token::Bool(_) => kind::BOOL,
            Token::Number(text) => self.number_kind(lexer, text)?,
            Token::NonFinite(_) if self.rules.reencodes => kind::NULL,
            Token::NonFinite(_) => kind::FLOAT,
            Token::Quote => kind::STRING,
            Token::OpenObject => kind::OBJECT,
            Token::OpenArray => kind::ARRAY,
        })
    }

    fn number_kind(&self, lexer: &mut Lexer<'_>, text: &[u8]) -> Result<u8, SyntaxError> {
        let is_integer = number::is_integer(text);
        if is_integer && text.len() <= 18 {
            return Ok(kind::INT);
        }
        if lexer.grammar == Grammar::Arrow {
            if is_integer && number::to_i64(text).is_some() {
                return Ok(kind::INT);
            }
            if number::may_overflow(text) && number::to_f64(text).is_infinite() {
                return Err(SyntaxError::Message(Cow::Borrowed("Number too big to be stored in double.")));
            }
            return Ok(kind::FLOAT);
        }
        if !is_integer && !number::may_overflow(text) {
            return Ok(kind::FLOAT);
        }
        match number::read_ujson(text).map_err(|what| SyntaxError::Message(Cow::Borrowed(what)))? {
            Number::Int(_) => Ok(kind::INT),
            Number::Float(value) if !value.is_finite() => {
                lexer.has_strays = true;
                Ok(if self.rules.reencodes { kind::NULL } else { kind::FLOAT })
            }
            Number::UInt(_) | Number::Float(_) => Ok(kind::FLOAT),
        }
    }

    fn note(&mut self, id: NodeId, kind: u8) {
        let node = self.scan.tree.node_mut(id);
        let before = node.kinds;
        node.kinds |= kind;
        if before | kind == before {
            return;
        }
        let is_root_value = id == ROOT && kind != kind::NULL && kind != kind::OBJECT;
        if is_root_value && self.scan.first_root_value.is_none() {
            self.scan.first_root_value = Some(RootValue(python_type(kind)));
        }
        let node = self.scan.tree.node(id);
        if self.scan.first_change.is_none() && (is_root_value || node.changes_type()) {
            let from = if id == ROOT { kind::OBJECT } else { before };
            self.scan.first_change = Some(TypeChange {
                path: self.scan.tree.path_text(id),
                from: arrow_kind(from),
                to: arrow_kind(kind),
                row: self.scan.rows,
            });
        }
    }

    fn text(&mut self, lexer: &mut Lexer<'_>, id: NodeId) -> Result<(), SyntaxError> {
        let text = lexer.string()?;
        let node = self.scan.tree.node_mut(id);
        if !node.has_plain_text {
            node.has_plain_text = timestamp::parse(&text.unescaped()).is_none();
        }
        Ok(())
    }

    fn array(
        &mut self,
        lexer: &mut Lexer<'_>,
        item: Option<NodeId>,
        depth: usize,
    ) -> Result<(), SyntaxError> {
        let mut more = lexer.first_item();
        while more {
            self.value(lexer, item, depth + 1)?;
            more = lexer.next_item()?;
        }
        Ok(())
    }

    fn object(
        &mut self,
        lexer: &mut Lexer<'_>,
        node: Option<NodeId>,
        depth: usize,
    ) -> Result<(), SyntaxError> {
        let mut object = node.map(|id| self.scan.tree.open_object(id));
        let mut more = lexer.object_name(true)?;
        while more {
            let name = lexer.string()?;
            let member = match &mut object {
                Some(object) => match self.scan.tree.member(object, &name.unescaped())? {
                    Ok(id) => Some(id),
                    Err(Duplicate(id)) if lexer.grammar == Grammar::Arrow => {
                        let path = self.scan.tree.path_text(id);
                        let message = format!("Column({path}) was specified twice");
                        return Err(SyntaxError::Message(Cow::Owned(message)));
                    }
                    Err(Duplicate(id)) => {
                        self.scan.has_duplicates = true;
                        Some(id)
                    }
                },
                None => None,
            };
            lexer.colon()?;
            self.value(lexer, member, depth + 1)?;
            more = lexer.next_member()? && lexer.object_name(false)?;
        }
        match &object {
            Some(object) => self.scan.tree.close_object(object, self.rules.reencodes),
            None => Ok(()),
        }
    }
}

/// Lines without their ends, as `bytes.splitlines` cuts them.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let start = at;
        let len = memchr::memchr2(b'\n', b'\r', &bytes[at..]).unwrap_or(bytes.len() - at);
        at += len + 1;
        if bytes.get(at - 1) == Some(&b'\r') && bytes.get(at) == Some(&b'\n') {
            at += 1;
        }
        Some(start..start + len)
    })
}

fn is_null(token: Token<'_>) -> bool {
    matches!(token, Token::Null | Token::NonFinite(_))
}

fn in_row(error: SyntaxError, row: usize) -> SyntaxError {
    match error {
        SyntaxError::Message(message) => SyntaxError::Message(Cow::Owned(format!("{message} in row {row}"))),
        limit @ SyntaxError::Limit(_) => limit,
    }
}

fn arrow_kind(kinds: u8) -> &'static str {
    match kinds & !kind::NULL {
        kind::BOOL => "boolean",
        kind::STRING => "string",
        kind::OBJECT => "object",
        kind::ARRAY => "array",
        _ => "number",
    }
}

fn python_type(kind: u8) -> &'static str {
    match kind {
        kind::BOOL => "bool",
        kind::INT => "int",
        kind::FLOAT => "float",
        kind::STRING => "str",
        _ => "list",
    }
}
