//! Features in the dialect of dataset READMEs (dataset-loading.md section 3.5): a list of named fields.
//!
//! Owns the translation to and from the JSON form, on documents that the YAML reader has turned into JSON values (keys
//! in order). The first key of a field beside `name` decides its type. Fails as [`super::json`] does, and with
//! `KeyError` for a field without a name.

use outpost_model::limits;
use serde_json::{Map, Value as Json, json};

use super::naming::{camelcase_to_snakecase, snakecase_to_camelcase};
use super::{Feature, Features, dtype, json, repr};
use crate::error::{ErrorClass, FormatError};

type Object = Map<String, Json>;

impl Features {
    /// Reads the README form.
    ///
    /// # Errors
    /// See the module.
    pub fn from_yaml(fields: &Json) -> Result<Self, FormatError> {
        Self::from_json(&to_json(fields, 0)?)
    }

    /// The README form, as the original writes it.
    #[must_use]
    pub fn to_yaml(&self) -> Json {
        Json::Array(
            self.0
                .iter()
                .map(|(name, feature)| {
                    let mut field = Object::new();
                    field.insert("name".into(), Json::String(name.to_string()));
                    field.extend(feature_to_yaml(feature));
                    Json::Object(field)
                })
                .collect(),
        )
    }
}

fn type_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::TypeError, message)
}

/// The JSON form of a field list or of one field without its name.
fn to_json(yaml: &Json, depth: usize) -> Result<Json, FormatError> {
    if depth > limits::NESTING_DEPTH_MAX {
        return Err(json::too_deep());
    }
    match yaml {
        Json::Array(fields) => {
            let mut members = Object::new();
            for field in fields {
                let (name, field) = split_name(field)?;
                members.insert(name, to_json(&Json::Object(field), depth + 1)?);
            }
            Ok(Json::Object(members))
        }
        Json::Object(field) => field_to_json(field, depth),
        other => {
            let text = other.as_str().map_or_else(|| repr::json_text(other), String::from);
            let class = json::python_class(other);
            Err(type_error(format!("Expected a dict or a list but got <class '{class}'>: {text}")))
        }
    }
}

fn split_name(field: &Json) -> Result<(String, Object), FormatError> {
    let mut field = match field {
        Json::Object(field) => field.clone(),
        other => {
            return Err(type_error(format!(
                "Expected a dict but got <class '{}'>",
                json::python_class(other)
            )));
        }
    };
    match field.shift_remove("name") {
        Some(Json::String(name)) => Ok((name, field)),
        Some(_) => Err(type_error("keywords must be strings")),
        None => Err(FormatError::new(ErrorClass::KeyError, "'name'")),
    }
}

fn field_to_json(field: &Object, depth: usize) -> Result<Json, FormatError> {
    let Some((kind, argument)) = field.iter().next() else {
        return Ok(Json::Object(Object::new()));
    };
    match kind.as_str() {
        "list" | "sequence" => list_to_json("List", field, argument, depth),
        "large_list" => list_to_json("LargeList", field, argument, depth),
        "struct" => to_json(argument, depth + 1),
        "dtype" => match argument {
            Json::String(dtype) => dtype_to_json(dtype, field),
            other => to_json(other, depth + 1),
        },
        _ => other_to_json(kind, argument),
    }
}

fn dtype_to_json(dtype: &str, field: &Object) -> Result<Json, FormatError> {
    match dtype::string_to_arrow(json::rewritten(dtype)) {
        Ok(_) => {
            let mut value = field.clone();
            value.insert("_type".into(), "Value".into());
            Ok(Json::Object(value))
        }
        Err(error) if error.class == ErrorClass::ValueError => {
            Ok(json!({"_type": snakecase_to_camelcase(dtype)}))
        }
        Err(error) => Err(error),
    }
}

/// A list; the legacy `sequence` of a field list is an object of lists instead.
fn list_to_json(type_name: &str, field: &Object, item: &Json, depth: usize) -> Result<Json, FormatError> {
    let is_object_of_lists = item.is_array() && field.keys().next().is_some_and(|kind| kind == "sequence");
    let item = match item {
        Json::String(dtype) => to_json(&json!({"dtype": dtype}), depth + 1)?,
        other => to_json(other, depth + 1)?,
    };
    let wrap = |feature: Json| {
        let mut list = Object::new();
        list.insert("feature".into(), feature);
        list.extend(field.iter().skip(1).map(|(key, value)| (key.clone(), value.clone())));
        list.insert("_type".into(), type_name.into());
        Json::Object(list)
    };
    match item {
        Json::Object(members) if is_object_of_lists => {
            Ok(Json::Object(members.into_iter().map(|(name, member)| (name, wrap(member))).collect()))
        }
        item => Ok(wrap(item)),
    }
}

fn other_to_json(kind: &str, argument: &Json) -> Result<Json, FormatError> {
    let mut feature = Object::new();
    feature.insert("_type".into(), snakecase_to_camelcase(kind).into());
    let arguments = argument
        .as_object()
        .ok_or_else(|| type_error(format!("'{}' object is not a mapping", json::python_class(argument))))?;
    for (name, value) in arguments {
        let value = match value {
            Json::Object(names) if kind == "class_label" && name == "names" => names_in_order(names)?,
            other => other.clone(),
        };
        feature.insert(name.clone(), value);
    }
    Ok(Json::Object(feature))
}

/// The names of a mapping from label ids to names, which must be 0 to n-1.
fn names_in_order(names: &Object) -> Result<Json, FormatError> {
    let mut labels = Vec::with_capacity(names.len());
    for (id, name) in names {
        let id: u64 = id.trim().parse().map_err(|_| {
            let message = format!("invalid literal for int() with base 10: {}", repr::quoted(id));
            FormatError::new(ErrorClass::ValueError, message)
        })?;
        labels.push((id, name));
    }
    labels.sort_by_key(|(id, _)| *id);
    if labels.iter().zip(0..).any(|((id, _), expected)| *id != expected) {
        let count = labels.last().map_or(0, |(id, _)| id.saturating_add(1));
        let message =
            format!("ClassLabel expected a value for all label ids [0:{count}] but some ids are missing.");
        return Err(FormatError::new(ErrorClass::ValueError, message));
    }
    Ok(Json::Array(labels.into_iter().map(|(_, name)| name.clone()).collect()))
}

/// A feature as the keys of its field.
fn feature_to_yaml(feature: &Feature) -> Object {
    match feature {
        Feature::List { feature, length } => list_to_yaml("list", feature, *length),
        Feature::LargeList { feature } => list_to_yaml("large_list", feature, None),
        Feature::Struct(features) => object("struct", features.to_yaml()),
        Feature::ClassLabel { names } => {
            let names = names.iter().enumerate();
            let names: Object =
                names.map(|(id, name)| (id.to_string(), Json::String(name.to_string()))).collect();
            object("dtype", json!({"class_label": {"names": names}}))
        }
        other => {
            let Json::Object(mut fields) = other.to_json() else { return Object::new() };
            let type_name = fields.shift_remove("_type");
            match type_name.as_ref().and_then(Json::as_str) {
                None | Some("Value") => fields,
                Some(name) if fields.is_empty() => object("dtype", camelcase_to_snakecase(name).into()),
                Some(name) => {
                    object("dtype", Json::Object(object(&camelcase_to_snakecase(name), Json::Object(fields))))
                }
            }
        }
    }
}

fn object(key: &str, value: Json) -> Object {
    let mut object = Object::new();
    object.insert(key.into(), value);
    object
}

fn list_to_yaml(kind: &str, item: &Feature, length: Option<usize>) -> Object {
    let mut item = feature_to_yaml(item);
    let item = match item.keys().next().map(String::as_str) {
        Some(key @ ("dtype" | "struct")) if item.len() == 1 => {
            let key = key.to_owned();
            item.shift_remove(&key).unwrap_or_default()
        }
        _ => Json::Object(item),
    };
    let mut list = object(kind, item);
    if let Some(length) = length {
        list.insert("length".into(), length.into());
    }
    list
}
