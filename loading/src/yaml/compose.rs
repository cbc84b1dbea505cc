//! From parser events to one value.
//!
//! Owns anchors, aliases, merge keys, tags and the bounds on size and depth. A value that is used through an alias
//! counts again each time; text is shared, so a small document cannot become a large one in memory.

use std::borrow::Cow;
use std::collections::HashMap;

use outpost_formats::memory;
use outpost_model::limits;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::scalar::{self, Kind};
use super::{Yaml, continuation};
use crate::error::LoadError;

/// What a byte of a document takes once it is composed, about.
const MEMORY_PER_BYTE: usize = 16;

/// A value with what it counts towards the bounds.
#[derive(Clone)]
struct Built {
    value: Yaml,
    nodes: usize,
    height: usize,
    merges: bool,
}

struct Composer<'input> {
    parser: Parser<'input, StrInput<'input>>,
    anchors: HashMap<usize, Built>,
    nodes: usize,
}

/// Documents up to this size are repaired and read again.
const REPAIRED_BYTES_MAX: usize = 1024 * 1024;
/// Repairs of one document.
const REPAIRS_MAX: usize = 32;

pub(super) fn load(text: &str) -> Result<Yaml, LoadError> {
    check_characters(text)?;
    let mut text = Cow::Borrowed(text);
    for _ in 0..REPAIRS_MAX {
        let repaired = match compose(&text) {
            Ok(value) => return Ok(value),
            Err(Failure::Syntax(error)) if text.len() <= REPAIRED_BYTES_MAX => {
                continuation::indented(&text, &error).ok_or_else(|| syntax_error(&error))?
            }
            Err(failure) => return Err(failure.into()),
        };
        text = Cow::Owned(repaired);
    }
    Ok(compose(&text)?)
}

/// Why a document was not read.
enum Failure {
    /// The event parser refused its text.
    Syntax(ScanError),
    /// The events do not make a value.
    Meaning(LoadError),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Meaning(error)
    }
}

impl From<Failure> for LoadError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Syntax(error) => syntax_error(&error),
            Failure::Meaning(error) => error,
        }
    }
}

fn compose(text: &str) -> Result<Yaml, Failure> {
    memory::hold(text.len().saturating_mul(MEMORY_PER_BYTE)).map_err(LoadError::from)?;
    let mut composer = Composer { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut document = None;
    loop {
        match composer.next()? {
            Event::StreamEnd => return Ok(document.unwrap_or(Yaml::Null)),
            Event::DocumentStart(_) if document.is_some() => {
                let message = "expected a single document in the stream\nbut found another document";
                return Err(LoadError::new("ComposerError", message).into());
            }
            Event::DocumentStart(_) => {
                let first = composer.next()?;
                document = Some(composer.node(first, 0)?.value);
            }
            _ => {}
        }
    }
}

/// Refuses control characters, as PyYAML's reader does before anything else.
fn check_characters(text: &str) -> Result<(), LoadError> {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    match text.chars().enumerate().find(|(_, c)| !is_allowed(*c)) {
        None => Ok(()),
        Some((position, c)) => {
            let message = format!(
                "unacceptable character #x{:04x}: special characters are not allowed\n  in \"<unicode string>\", \
                 position {position}",
                u32::from(c)
            );
            Err(LoadError::new("ReaderError", message))
        }
    }
}

impl<'input> Composer<'input> {
    fn next(&mut self) -> Result<Event<'input>, Failure> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(Failure::Syntax(error)),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'input>, depth: usize) -> Result<Built, Failure> {
        if depth > limits::NESTING_DEPTH_MAX {
            return Err(too_deep().into());
        }
        let (anchor, built) = match event {
            Event::Alias(anchor) => return self.alias(anchor, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar_kind(&text, style, tag.as_deref())?;
                let merges = kind == Kind::Merge;
                let value =
                    if merges { Yaml::Str(text.as_ref().into()) } else { scalar::construct(kind, &text)? };
                (anchor, Built { value, nodes: 1, height: 0, merges })
            }
            Event::SequenceStart(anchor, tag) => {
                check_collection_tag(tag.as_deref(), &["seq", "omap", "pairs"])?;
                (anchor, self.sequence(depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                check_collection_tag(tag.as_deref(), &["map", "set"])?;
                (anchor, self.mapping(depth)?)
            }
            _ => return Err(LoadError::new("ParserError", "expected a node").into()),
        };
        self.count(1)?;
        if anchor != 0 {
            self.count(built.nodes)?;
            self.anchors.insert(anchor, built.clone());
        }
        Ok(built)
    }

    fn alias(&mut self, anchor: usize, depth: usize) -> Result<Built, Failure> {
        let Some(built) = self.anchors.get(&anchor) else {
            let message = "found an alias inside the value that it stands for";
            return Err(LoadError::new("ComposerError", message).into());
        };
        if depth + built.height > limits::NESTING_DEPTH_MAX {
            return Err(too_deep().into());
        }
        let built = built.clone();
        self.count(built.nodes)?;
        Ok(built)
    }

    /// Counts nodes that were built or copied.
    fn count(&mut self, nodes: usize) -> Result<(), LoadError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > limits::YAML_NODES_MAX {
            let message = format!("the YAML document has more than {} nodes", limits::YAML_NODES_MAX);
            return Err(LoadError::new("LimitExceeded", message));
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Built, Failure> {
        let mut built = Built { value: Yaml::Null, nodes: 1, height: 0, merges: false };
        let mut items = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                built.value = Yaml::Seq(items);
                return Ok(built);
            }
            let item = self.node(event, depth + 1)?;
            built.nodes = built.nodes.saturating_add(item.nodes);
            built.height = built.height.max(item.height + 1);
            items.push(item.value);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Built, Failure> {
        let mut built = Built { value: Yaml::Null, nodes: 1, height: 0, merges: false };
        let (mut merged, mut own) = (Vec::new(), Vec::new());
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, depth + 1)?;
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            built.nodes = built.nodes.saturating_add(key.nodes).saturating_add(value.nodes);
            built.height = built.height.max(key.height + 1).max(value.height + 1);
            if key.merges {
                merge(&mut merged, value.value)?;
            } else {
                own.push((key.value, value.value));
            }
        }
        merged.append(&mut own);
        built.value = Yaml::Map(unique(merged)?);
        Ok(built)
    }
}

/// Adds the entries that a merge key brings in; of several mappings the first one wins, so it comes last.
fn merge(into: &mut Vec<(Yaml, Yaml)>, value: Yaml) -> Result<(), LoadError> {
    match value {
        Yaml::Map(entries) => into.extend(entries),
        Yaml::Seq(items) => {
            for item in items.into_iter().rev() {
                let Yaml::Map(entries) = item else {
                    return Err(merge_error("expected a mapping for merging", &item));
                };
                into.extend(entries);
            }
        }
        other => return Err(merge_error("expected a mapping or list of mappings for merging", &other)),
    }
    Ok(())
}

fn merge_error(expected: &str, found: &Yaml) -> LoadError {
    let found = if matches!(found, Yaml::Seq(_)) { "sequence" } else { "scalar" };
    LoadError::new("ConstructorError", format!("while constructing a mapping\n{expected}, but found {found}"))
}

/// Keeps the last value of each key at the place of its first.
fn unique(entries: Vec<(Yaml, Yaml)>) -> Result<Vec<(Yaml, Yaml)>, LoadError> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
    let mut out: Vec<(Yaml, Yaml)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        if matches!(key, Yaml::Seq(_) | Yaml::Map(_)) {
            return Err(LoadError::new(
                "ConstructorError",
                "while constructing a mapping\nfound unhashable key",
            ));
        }
        match places.entry(key.repr()) {
            std::collections::hash_map::Entry::Occupied(place) => out[*place.get()].1 = value,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(out.len());
                out.push((key, value));
            }
        }
    }
    Ok(out)
}

fn scalar_kind(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Kind, LoadError> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { scalar::kind(text) } else { Kind::Str });
    };
    match core_suffix(tag) {
        Some("str") => Ok(Kind::Str),
        Some("int") => Ok(Kind::Int),
        Some("float") => Ok(Kind::Float),
        Some("bool") => Ok(Kind::Bool),
        Some("null") => Ok(Kind::Null),
        Some("timestamp") => Ok(Kind::Timestamp),
        None if tag.handle.is_empty() && tag.suffix == "!" => Ok(Kind::Str),
        _ => Err(unknown_tag(tag)),
    }
}

fn check_collection_tag(tag: Option<&Tag>, allowed: &[&str]) -> Result<(), LoadError> {
    match tag {
        None => Ok(()),
        Some(tag) if core_suffix(tag).is_some_and(|suffix| allowed.contains(&suffix)) => Ok(()),
        Some(tag) => Err(unknown_tag(tag)),
    }
}

fn core_suffix(tag: &Tag) -> Option<&str> {
    match tag.handle.as_str() {
        "" => tag.suffix.strip_prefix("tag:yaml.org,2002:"),
        _ => tag.is_yaml_core_schema().then_some(tag.suffix.as_str()),
    }
}

fn unknown_tag(tag: &Tag) -> LoadError {
    let tag = format!("{}{}", tag.handle, tag.suffix);
    LoadError::new("ConstructorError", format!("could not determine a constructor for the tag '{tag}'"))
}

fn too_deep() -> LoadError {
    let message = format!("the YAML document is nested deeper than {} levels", limits::NESTING_DEPTH_MAX);
    LoadError::new("LimitExceeded", message)
}

/// What messages of the event parser say where PyYAML's parser, not its scanner, refuses.
const PARSER_WORDS: &[&str] = &[
    "while parsing a block",
    "while parsing a flow",
    "while parsing a node",
    "<document",
    "handle",
    "trailing content",
    "misplaced bracket",
    "comment intercepting",
];

/// PyYAML tells scanner, parser and composer apart; the event parser does by the words of its messages.
fn syntax_error(error: &ScanError) -> LoadError {
    let info = error.info();
    // The event parser has a bound of its own on brackets within brackets.
    if info.contains("recursion limit") {
        return too_deep();
    }
    let class = if info.contains("unknown anchor") {
        "ComposerError"
    } else if PARSER_WORDS.iter().any(|words| info.contains(words)) {
        "ParserError"
    } else {
        "ScannerError"
    };
    let mark = error.marker();
    LoadError::new(
        class,
        format!("{info}\n  in \"<unicode string>\", line {}, column {}", mark.line(), mark.col() + 1),
    )
}
