//! Features as JSON: what `to_dict` writes and `from_dict` reads (dataset-loading.md section 4.1, worker-and-store.md
//! section 5.7).
//!
//! Owns the field order (`_type` last, defaults left out) and the legacy forms: `Sequence`, one-element arrays,
//! `id`, `num_classes`. Fails with `ValueError` for an unknown type, `TypeError` for malformed fields, and
//! `LimitExceeded` for nesting beyond [`limits::NESTING_DEPTH_MAX`].

use std::sync::Arc;

use indexmap::IndexMap;
use outpost_model::limits;
use serde_json::{Map, Value as Json, json};

use super::{Feature, Features, Media, MediaKind, dtype, repr};
use crate::error::{ErrorClass, FormatError};

type Object = Map<String, Json>;

const TYPE_NAMES: &str = "['Value', 'ClassLabel', 'Translation', 'TranslationVariableLanguages', 'LargeList', 'List', 'Array2D', 'Array3D', 'Array4D', 'Array5D', 'Audio', 'Image', 'Mesh', 'Video', 'Pdf', 'Nifti', 'Json']";

/// The default of a media option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionDefault {
    Null,
    True,
    One,
    Text(&'static str),
}

impl OptionDefault {
    fn equals(self, value: &Json) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::True => value == &Json::Bool(true),
            Self::One => value.as_f64() == Some(1.0),
            Self::Text(text) => value.as_str() == Some(text),
        }
    }

    pub(super) fn python_text(self) -> String {
        match self {
            Self::Null => "None".into(),
            Self::True => "True".into(),
            Self::One => "1".into(),
            Self::Text(text) => repr::quoted(text),
        }
    }
}

/// The options of a media type with their defaults, in the order that JSON writes them.
pub(super) fn media_fields(kind: MediaKind) -> &'static [(&'static str, OptionDefault)] {
    use OptionDefault::{Null, One, Text, True};
    match kind {
        MediaKind::Image => &[("mode", Null), ("decode", True), ("id", Null)],
        MediaKind::Audio => &[
            ("sampling_rate", Null),
            ("decode", True),
            ("num_channels", Null),
            ("stream_index", Null),
            ("id", Null),
        ],
        MediaKind::Video => &[
            ("decode", True),
            ("stream_index", Null),
            ("dimension_order", Text("NCHW")),
            ("num_ffmpeg_threads", One),
            ("device", Text("cpu")),
            ("seek_mode", Text("exact")),
            ("id", Null),
        ],
        MediaKind::Pdf | MediaKind::Nifti | MediaKind::Mesh => &[("decode", True), ("id", Null)],
    }
}

/// The type name of a kind of media.
pub(super) fn media_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "Image",
        MediaKind::Audio => "Audio",
        MediaKind::Video => "Video",
        MediaKind::Pdf => "Pdf",
        MediaKind::Nifti => "Nifti",
        MediaKind::Mesh => "Mesh",
    }
}

impl Features {
    /// Reads the JSON form: an object of columns.
    ///
    /// # Errors
    /// `ValueError`, `TypeError`, `KeyError` or `LimitExceeded`, see the module.
    pub fn from_json(json: &Json) -> Result<Self, FormatError> {
        match Feature::from_json(json)? {
            Feature::Struct(features) => Ok(features),
            _ => Err(type_error("features must be an object of columns")),
        }
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::Object(self.0.iter().map(|(name, feature)| (name.to_string(), feature.to_json())).collect())
    }

    /// Columns in order; of several with one name the last counts, at the place of the first.
    pub(crate) fn from_columns(columns: impl IntoIterator<Item = (Arc<str>, Feature)>) -> Self {
        let columns: IndexMap<Arc<str>, Feature> = columns.into_iter().collect();
        Self(columns.into_iter().collect())
    }
}

impl Feature {
    /// Reads the JSON form of one feature.
    ///
    /// # Errors
    /// `ValueError`, `TypeError`, `KeyError` or `LimitExceeded`, see the module.
    pub fn from_json(json: &Json) -> Result<Self, FormatError> {
        nested(json, 0)
    }

    /// The JSON form of one feature.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Value { dtype, id: None } => json!({"dtype": &**dtype, "_type": "Value"}),
            Self::Value { dtype, id: Some(id) } => json!({"dtype": &**dtype, "id": &**id, "_type": "Value"}),
            Self::ClassLabel { names } => json!({"names": texts(names), "_type": "ClassLabel"}),
            Self::List { feature, length: None } => json!({"feature": feature.to_json(), "_type": "List"}),
            Self::List { feature, length: Some(length) } => {
                json!({"feature": feature.to_json(), "length": length, "_type": "List"})
            }
            Self::LargeList { feature } => json!({"feature": feature.to_json(), "_type": "LargeList"}),
            Self::Array { shape, dtype } => {
                json!({"shape": shape, "dtype": &**dtype, "_type": format!("Array{}D", shape.len())})
            }
            Self::Translation { languages } => json!({"languages": texts(languages), "_type": "Translation"}),
            Self::TranslationVariableLanguages { languages, num_languages } => {
                let mut object = Object::new();
                if let Some(languages) = languages {
                    object.insert("languages".into(), texts(languages));
                }
                if let Some(count) = num_languages {
                    object.insert("num_languages".into(), (*count).into());
                }
                object.insert("_type".into(), "TranslationVariableLanguages".into());
                Json::Object(object)
            }
            Self::Media(media) => media_to_json(media),
            Self::Json { decode: true } => json!({"_type": "Json"}),
            Self::Json { decode: false } => json!({"decode": false, "_type": "Json"}),
            Self::Struct(features) => features.to_json(),
        }
    }
}

fn texts(names: &[Arc<str>]) -> Json {
    Json::Array(names.iter().map(|name| Json::String(name.to_string())).collect())
}

fn media_to_json(media: &Media) -> Json {
    let mut object: Object =
        media.options.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    object.insert("_type".into(), media_name(media.kind).into());
    Json::Object(object)
}

fn type_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::TypeError, message)
}

fn value_error(message: impl Into<String>) -> FormatError {
    FormatError::new(ErrorClass::ValueError, message)
}

/// The error for features that are nested too deeply.
pub(super) fn too_deep() -> FormatError {
    let message = format!("features nested more than {} levels deep", limits::NESTING_DEPTH_MAX);
    FormatError::new(ErrorClass::LimitExceeded, message)
}

fn nested(json: &Json, depth: usize) -> Result<Feature, FormatError> {
    if depth > limits::NESTING_DEPTH_MAX {
        return Err(too_deep());
    }
    match json {
        Json::Array(items) => {
            let first =
                items.first().ok_or_else(|| value_error("a list feature needs the feature of its items"))?;
            nested(first, depth + 1).map(Feature::list)
        }
        Json::Object(object) => match object.get("_type") {
            None | Some(Json::Object(_)) => members(object, depth),
            Some(Json::String(type_name)) => typed(type_name, object, depth),
            Some(other) => Err(unknown_type(&repr::json_text(other))),
        },
        other => Err(type_error(format!("a feature must be an object, got {}", repr::json_text(other)))),
    }
}

fn members(object: &Object, depth: usize) -> Result<Feature, FormatError> {
    let columns = object.iter().map(|(name, json)| Ok((Arc::from(name.as_str()), nested(json, depth + 1)?)));
    Ok(Feature::Struct(Features(columns.collect::<Result<_, FormatError>>()?)))
}

fn unknown_type(type_name: &str) -> FormatError {
    value_error(format!("Feature type '{type_name}' not found. Available feature types: {TYPE_NAMES}"))
}

fn typed(type_name: &str, object: &Object, depth: usize) -> Result<Feature, FormatError> {
    Ok(match type_name {
        "Value" => return value(object),
        "ClassLabel" => return class_label(object),
        "List" => {
            let (feature, length) = list_parts(type_name, object, depth)?;
            Feature::List { feature: Box::new(feature), length }
        }
        "LargeList" => {
            let (feature, _) = list_parts(type_name, object, depth)?;
            Feature::LargeList { feature: Box::new(feature) }
        }
        "Sequence" => return sequence(object, depth),
        "Array2D" => array(2, object)?,
        "Array3D" => array(3, object)?,
        "Array4D" => array(4, object)?,
        "Array5D" => array(5, object)?,
        "Translation" => {
            let languages = object.get("languages").ok_or_else(|| missing("Translation", "languages"))?;
            Feature::Translation { languages: names(languages)? }
        }
        "TranslationVariableLanguages" => variable_languages(object)?,
        "Image" => media(MediaKind::Image, object),
        "Audio" => media(MediaKind::Audio, object),
        "Video" => media(MediaKind::Video, object),
        "Pdf" => media(MediaKind::Pdf, object),
        "Nifti" => media(MediaKind::Nifti, object),
        "Mesh" => media(MediaKind::Mesh, object),
        "Json" => Feature::Json { decode: object.get("decode") != Some(&Json::Bool(false)) },
        _ => return Err(unknown_type(type_name)),
    })
}

fn missing(type_name: &str, field: &str) -> FormatError {
    type_error(format!("{type_name}.__init__() missing 1 required positional argument: '{field}'"))
}

fn value(object: &Object) -> Result<Feature, FormatError> {
    let dtype = object.get("dtype").ok_or_else(|| missing("Value", "dtype"))?;
    let dtype = dtype.as_str().ok_or_else(|| type_error("the dtype of a Value must be a string"))?;
    let dtype = rewritten(dtype);
    dtype::string_to_arrow(dtype)?;
    Ok(Feature::Value { dtype: dtype.into(), id: object.get("id").and_then(Json::as_str).map(Arc::from) })
}

/// The two dtypes that are not kept as written.
pub(super) fn rewritten(dtype: &str) -> &str {
    match dtype {
        "float" => "float32",
        "double" => "float64",
        other => other,
    }
}

fn class_label(object: &Object) -> Result<Feature, FormatError> {
    let names = match object.get("names") {
        None | Some(Json::Null) => {
            return Err(value_error("Please provide either num_classes, names or names_file."));
        }
        Some(names) => names_of_labels(names)?,
    };
    let mut sorted = names.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != names.len() {
        return Err(value_error("Some label names are duplicated. Each label name should be unique."));
    }
    Ok(Feature::ClassLabel { names: names.into() })
}

fn names_of_labels(json: &Json) -> Result<Vec<Arc<str>>, FormatError> {
    match json {
        Json::Array(_) => names(json),
        Json::String(letters) => Ok(letters.chars().map(|letter| letter.to_string().into()).collect()),
        other => {
            Err(type_error(format!("Please provide names as a list, is <class '{}'>", python_class(other))))
        }
    }
}

/// The Python class of a JSON value.
pub(super) fn python_class(json: &Json) -> &'static str {
    match json {
        Json::Null => "NoneType",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float",
        Json::Number(_) => "int",
        Json::String(_) => "str",
        Json::Array(_) => "list",
        Json::Object(_) => "dict",
    }
}

fn names(json: &Json) -> Result<Vec<Arc<str>>, FormatError> {
    let items = json.as_array().ok_or_else(|| type_error("names must be a list of strings"))?;
    let name = |item: &Json| match item {
        Json::String(text) => Arc::from(text.as_str()),
        other => Arc::from(repr::json_text(other)),
    };
    Ok(items.iter().map(name).collect())
}

fn list_parts(
    type_name: &str,
    object: &Object,
    depth: usize,
) -> Result<(Feature, Option<usize>), FormatError> {
    let length = list_length(type_name, object)?;
    let feature = object.get("feature").ok_or_else(|| FormatError::new(ErrorClass::KeyError, "'feature'"))?;
    Ok((nested(feature, depth + 1)?, length))
}

fn list_length(type_name: &str, object: &Object) -> Result<Option<usize>, FormatError> {
    let known = |name: &str| {
        matches!(name, "feature" | "id" | "_type") || (name == "length" && type_name != "LargeList")
    };
    if let Some(name) = object.keys().find(|name| !known(name)) {
        let message = format!("{type_name}.__init__() got an unexpected keyword argument '{name}'");
        return Err(type_error(message));
    }
    let length = object.get("length").filter(|length| !length.is_null());
    let Some(length) = length else { return Ok(None) };
    let length = length.as_i64().ok_or_else(|| type_error("the length of a list must be a whole number"))?;
    // Arrow holds the length of a list in 32 bits.
    if length > i64::from(i32::MAX) {
        return Err(value_error(format!("a list cannot have the fixed length {length}")));
    }
    Ok(usize::try_from(length).ok())
}

/// The legacy type: a list, or of an object with a member that is no list, the object of lists.
fn sequence(object: &Object, depth: usize) -> Result<Feature, FormatError> {
    let (feature, length) = list_parts("Sequence", object, depth)?;
    let list = |feature| Feature::List { feature: Box::new(feature), length };
    Ok(match feature {
        Feature::Struct(Features(members))
            if members.iter().any(|(_, member)| !matches!(member, Feature::List { .. })) =>
        {
            Feature::Struct(Features(
                members.into_iter().map(|(name, member)| (name, list(member))).collect(),
            ))
        }
        other => list(other),
    })
}

fn array(rank: usize, object: &Object) -> Result<Feature, FormatError> {
    let type_name = format!("Array{rank}D");
    let shape = object.get("shape").ok_or_else(|| missing(&type_name, "shape"))?;
    let shape = shape.as_array().ok_or_else(|| type_error("the shape of an array must be a list"))?;
    let size = |json: &Json| match json {
        Json::Null => Ok(None),
        // Arrow holds the length of a list in 32 bits.
        other => match other.as_u64().filter(|size| *size <= u64::from(i32::MAX.unsigned_abs())) {
            Some(size) => Ok(usize::try_from(size).ok()),
            None => Err(type_error("the sizes of an array must be whole numbers or null")),
        },
    };
    let shape = shape.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let text = repr::shape_text(&shape);
    if shape.len() != rank {
        return Err(value_error(format!("shape={text} and ndims={rank} don't match")));
    }
    if shape[1..].contains(&None) {
        return Err(value_error(format!("Support only dynamic size on first dimension. Got: {text}")));
    }
    let dtype = object.get("dtype").ok_or_else(|| missing(&type_name, "dtype"))?;
    let dtype = dtype.as_str().ok_or_else(|| type_error("the dtype of an array must be a string"))?;
    Ok(Feature::Array { shape, dtype: dtype.into() })
}

fn variable_languages(object: &Object) -> Result<Feature, FormatError> {
    let mut languages = match object.get("languages") {
        None | Some(Json::Null) => Vec::new(),
        Some(languages) => names(languages)?,
    };
    languages.sort_unstable();
    languages.dedup();
    let num_languages = Some(languages.len() as u64).filter(|count| *count > 0);
    let languages = Some(languages).filter(|languages| !languages.is_empty());
    Ok(Feature::TranslationVariableLanguages { languages, num_languages })
}

fn media(kind: MediaKind, object: &Object) -> Feature {
    let options = media_fields(kind)
        .iter()
        .filter_map(|(name, default)| {
            let value = object.get(*name).filter(|value| !default.equals(value))?;
            Some((Arc::from(*name), value.clone()))
        })
        .collect();
    Feature::Media(Media { kind, options })
}
