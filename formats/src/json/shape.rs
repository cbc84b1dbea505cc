//! The type that a chunk's values get, as Arrow's JSON reader infers it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};

use super::tree::{NodeId, ROOT, Tree, kind};

/// The type of a column or of something nested in one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Null,
    Bool,
    Int,
    Float,
    /// Seconds, no zone.
    Timestamp,
    Text,
    /// JSON text of whatever stands there.
    Json,
    List(Box<Shape>),
    Struct(Members),
}

/// Members of a struct, in order of appearance.
pub(super) type Members = Vec<(Arc<str>, Shape)>;

/// The columns of a chunk's rows.
pub(super) fn columns(tree: &Tree) -> Members {
    members(tree, ROOT)
}

fn members(tree: &Tree, id: NodeId) -> Members {
    let keys = tree.node(id).keys.iter();
    keys.map(|(key, child)| (Arc::from(String::from_utf8_lossy(key)), shape(tree, *child))).collect()
}

fn shape(tree: &Tree, id: NodeId) -> Shape {
    let node = tree.node(id);
    if node.is_json {
        return Shape::Json;
    }
    match node.kinds & !kind::NULL {
        0 => Shape::Null,
        kind::BOOL => Shape::Bool,
        kind::INT => Shape::Int,
        kind::STRING if node.has_plain_text => Shape::Text,
        kind::STRING => Shape::Timestamp,
        kind::OBJECT => Shape::Struct(members(tree, id)),
        kind::ARRAY => Shape::List(Box::new(node.item.map_or(Shape::Null, |item| shape(tree, item)))),
        _ => Shape::Float,
    }
}

/// The physical field of a column; `marks_json` gives JSON text its extension type.
pub(super) fn field(name: &str, shape: &Shape, marks_json: bool) -> FieldRef {
    let data_type = match shape {
        Shape::Null => DataType::Null,
        Shape::Bool => DataType::Boolean,
        Shape::Int => DataType::Int64,
        Shape::Float => DataType::Float64,
        Shape::Timestamp => DataType::Timestamp(TimeUnit::Second, None),
        Shape::Text | Shape::Json => DataType::Utf8,
        Shape::List(item) => DataType::List(field("item", item, marks_json)),
        Shape::Struct(members) => {
            DataType::Struct(members.iter().map(|(name, member)| field(name, member, marks_json)).collect())
        }
    };
    let mut field = Field::new(name, data_type, true);
    if marks_json && *shape == Shape::Json {
        let mark = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        field = field.with_metadata(HashMap::from([
            mark("ARROW:extension:name", "arrow.json"),
            mark("ARROW:extension:metadata", ""),
        ]));
    }
    Arc::new(field)
}
