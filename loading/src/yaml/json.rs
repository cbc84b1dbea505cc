//! JSON as the same values that YAML gives.
//!
//! Owns a reader that counts nodes while it builds them, so that a metadata file cannot become many times its size in
//! memory. Of duplicate keys the last one counts, at the place of the first.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use outpost_model::limits;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Yaml;
use crate::error::LoadError;

/// Reads a JSON document of at most [`limits::YAML_NODES_MAX`] nodes.
///
/// # Errors
/// `JSONDecodeError` when the text is not JSON or too large.
pub fn load_json(text: &str) -> Result<Yaml, LoadError> {
    let nodes = Cell::new(0);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Node { nodes: &nodes }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| LoadError::new("JSONDecodeError", error.to_string()))
}

#[derive(Clone, Copy)]
struct Node<'a> {
    nodes: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Yaml;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > limits::YAML_NODES_MAX {
            let message = format!("the document has more than {} nodes", limits::YAML_NODES_MAX);
            return Err(D::Error::custom(message));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Yaml;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(Yaml::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Str(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Yaml::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Yaml, A::Error> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut entries: Vec<(Yaml, Yaml)> = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(self)?;
            if let Some(&place) = places.get(&key) {
                entries[place].1 = value;
            } else {
                entries.push((Yaml::Str(key.as_str().into()), value));
                places.insert(key, entries.len() - 1);
            }
        }
        Ok(Yaml::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_gives_the_values_that_yaml_gives() {
        let value = load_json(r#"{"a": [1, -2, 1.5, true, null], "b": {"x": "y"}, "a": 1}"#).unwrap();
        assert_eq!(value.repr(), "{'a': 1, 'b': {'x': 'y'}}");
        assert_eq!(load_json("[18446744073709551615]").unwrap().repr(), "[18446744073709551615]");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "{} x", "[1,]", &"[".repeat(1_000)] {
            assert_eq!(load_json(text).unwrap_err().class, "JSONDecodeError", "{text:.20}");
        }
    }

    #[test]
    fn a_document_has_a_bounded_number_of_nodes() {
        let text = format!("[{}0]", "0,".repeat(limits::YAML_NODES_MAX));
        assert!(load_json(&text).unwrap_err().message.contains("more than"), "the bound is named");
    }
}
