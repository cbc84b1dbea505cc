//! Features and Arrow fields (dataset-loading.md sections 4.1, 4.3 and 4.4).
//!
//! Owns both directions, the extension types that stand for features (`arrow.json`, `Array2D` to `Array5D`), the
//! comparison of fields as `pyarrow` makes it, and the `huggingface` schema metadata. Fails with `ValueError` for
//! Arrow types that have no feature.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::extension::{EXTENSION_TYPE_METADATA_KEY, EXTENSION_TYPE_NAME_KEY};
use arrow_schema::{DataType, Field, FieldRef, Fields};
use outpost_model::limits;
use serde_json::Value as Json;

use super::type_text::field_type_text;
use super::{Feature, Features, dtype, json};
use crate::error::{ErrorClass, FormatError};

/// Name of the extension type of `Json` columns.
pub const JSON_EXTENSION: &str = "arrow.json";

/// Extension types that `pyarrow` knows and that have no feature.
const FOREIGN_EXTENSIONS: [&str; 4] =
    ["arrow.uuid", "arrow.bool8", "arrow.fixed_shape_tensor", "arrow.opaque"];

const ARRAY_EXTENSIONS: [&str; 4] = [
    "datasets.features.features.Array2DExtensionType",
    "datasets.features.features.Array3DExtensionType",
    "datasets.features.features.Array4DExtensionType",
    "datasets.features.features.Array5DExtensionType",
];

/// Whether an extension type of this name stands for `Array2D` to `Array5D`.
#[must_use]
pub fn is_array_extension(name: &str) -> bool {
    ARRAY_EXTENSIONS.contains(&name)
}

/// The extension name of a field.
#[must_use]
pub fn extension_name(field: &Field) -> Option<&str> {
    field.metadata().get(EXTENSION_TYPE_NAME_KEY).map(String::as_str)
}

impl Feature {
    /// The feature that a physical field stands for.
    ///
    /// # Errors
    /// `ValueError` for types without a feature (maps, unions, intervals ...), `LimitExceeded` for deep nesting.
    pub fn from_arrow(field: &Field) -> Result<Self, FormatError> {
        from_field(field, 0)
    }

    /// The physical field that stores this feature: nullable, marked when its type is an extension type.
    ///
    /// # Errors
    /// `ValueError` for a dtype that is none.
    pub fn to_arrow(&self, name: &str) -> Result<Field, FormatError> {
        let field = Field::new(name, self.storage_type()?, true);
        let metadata = match self {
            Self::Json { .. } => extension(JSON_EXTENSION, String::new()),
            Self::Array { shape, dtype } => {
                let name = ARRAY_EXTENSIONS.get(shape.len().saturating_sub(2)).ok_or_else(|| {
                    FormatError::new(ErrorClass::ValueError, "an array has two to five dimensions")
                })?;
                extension(name, array_metadata(shape, dtype))
            }
            _ => return Ok(field),
        };
        Ok(field.with_metadata(metadata))
    }

    /// The Arrow type that stores this feature, without the mark of its extension type.
    ///
    /// # Errors
    /// `ValueError` for a dtype that is none.
    pub fn storage_type(&self) -> Result<DataType, FormatError> {
        Ok(match self {
            Self::Value { dtype, .. } => dtype::string_to_arrow(dtype)?,
            Self::ClassLabel { .. } => DataType::Int64,
            Self::List { feature, length: None } => DataType::List(feature.item()?),
            Self::List { feature, length: Some(length) } => {
                let length = i32::try_from(*length).map_err(|_| {
                    FormatError::new(
                        ErrorClass::ValueError,
                        format!("a list cannot have the length {length}"),
                    )
                })?;
                DataType::FixedSizeList(feature.item()?, length)
            }
            Self::LargeList { feature } => DataType::LargeList(feature.item()?),
            Self::Array { shape, dtype } => {
                let item = dtype::string_to_arrow(dtype)?;
                shape.iter().fold(item, |item, _| DataType::List(item_field(item)))
            }
            Self::Translation { languages } => {
                let mut languages = languages.clone();
                languages.sort_unstable();
                languages.dedup();
                let members = languages.iter().map(|language| Field::new(&**language, DataType::Utf8, true));
                DataType::Struct(members.collect())
            }
            Self::TranslationVariableLanguages { .. } => {
                let texts = DataType::List(item_field(DataType::Utf8));
                let members = ["language", "translation"].map(|name| Field::new(name, texts.clone(), true));
                DataType::Struct(members.into_iter().collect())
            }
            Self::Media(_) => DataType::Struct(Fields::from(vec![
                Field::new("bytes", DataType::Binary, true),
                Field::new("path", DataType::Utf8, true),
            ])),
            Self::Json { .. } => DataType::Utf8,
            Self::Struct(features) => DataType::Struct(features.to_arrow()?.into()),
        })
    }

    fn item(&self) -> Result<FieldRef, FormatError> {
        self.to_arrow("item").map(Arc::new)
    }
}

impl Features {
    /// The physical fields that store these columns.
    ///
    /// # Errors
    /// `ValueError` for a dtype that is none.
    pub fn to_arrow(&self) -> Result<Vec<FieldRef>, FormatError> {
        self.0.iter().map(|(name, feature)| feature.to_arrow(name).map(Arc::new)).collect()
    }

    /// The features of a file: those of its `huggingface` schema metadata where their field equals the physical one,
    /// else those that the physical types stand for.
    ///
    /// # Errors
    /// `ValueError` for a physical type without a feature or for broken metadata, even of columns that the file
    /// does not have.
    pub fn from_schema(fields: &[FieldRef], metadata: Option<&str>) -> Result<Self, FormatError> {
        let declared = match metadata {
            Some(metadata) => declared_features(metadata)?,
            None => Self::default(),
        };
        let declared_fields = declared.to_arrow()?;
        let declared: HashMap<&str, (&Feature, FieldRef)> = declared
            .0
            .iter()
            .zip(declared_fields)
            .map(|((name, feature), field)| (&**name, (feature, field)))
            .collect();
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            let feature = match declared.get(field.name().as_str()) {
                Some((feature, declared)) if fields_equal(declared, field) => (*feature).clone(),
                _ => Feature::from_arrow(field)?,
            };
            columns.push((Arc::from(field.name().as_str()), feature));
        }
        Ok(Self::from_columns(columns))
    }
}

fn declared_features(metadata: &str) -> Result<Features, FormatError> {
    let metadata: Json = serde_json::from_str(metadata).map_err(|error| {
        FormatError::new(
            ErrorClass::ValueError,
            format!("the huggingface schema metadata is not JSON: {error}"),
        )
    })?;
    match metadata.get("info").and_then(|info| info.get("features")) {
        None | Some(Json::Null) => Ok(Features::default()),
        Some(features) => Features::from_json(features),
    }
}

fn item_field(item: DataType) -> FieldRef {
    Arc::new(Field::new("item", item, true))
}

fn extension(name: &str, metadata: String) -> HashMap<String, String> {
    HashMap::from([
        (EXTENSION_TYPE_NAME_KEY.to_owned(), name.to_owned()),
        (EXTENSION_TYPE_METADATA_KEY.to_owned(), metadata),
    ])
}

/// The text that marks an array column: `[[2, null], "int32"]`, spaced as Python spaces JSON.
fn array_metadata(shape: &[Option<usize>], dtype: &str) -> String {
    let sizes: Vec<String> =
        shape.iter().map(|size| size.map_or("null".into(), |size| size.to_string())).collect();
    format!("[[{}], {}]", sizes.join(", "), Json::from(dtype))
}

fn from_field(field: &Field, depth: usize) -> Result<Feature, FormatError> {
    if depth > limits::NESTING_DEPTH_MAX {
        return Err(json::too_deep());
    }
    match extension_name(field) {
        Some(JSON_EXTENSION) => return Ok(Feature::Json { decode: true }),
        Some(name) if is_array_extension(name) => return array_feature(field, name),
        Some(name) if FOREIGN_EXTENSIONS.contains(&name) => {
            return Err(dtype::no_equivalent(&field_type_text(field)));
        }
        _ => {}
    }
    let item = |item: &Field| from_field(item, depth + 1).map(Box::new);
    Ok(match field.data_type() {
        DataType::List(field) => Feature::List { feature: item(field)?, length: None },
        DataType::LargeList(field) => Feature::LargeList { feature: item(field)? },
        DataType::FixedSizeList(field, length) => {
            Feature::List { feature: item(field)?, length: usize::try_from(*length).ok() }
        }
        DataType::Struct(members) => {
            let members = members
                .iter()
                .map(|member| Ok((Arc::from(member.name().as_str()), from_field(member, depth + 1)?)));
            Feature::Struct(Features::from_columns(members.collect::<Result<Vec<_>, FormatError>>()?))
        }
        scalar => Feature::value(&dtype::arrow_to_string(scalar)?),
    })
}

fn array_feature(field: &Field, name: &str) -> Result<Feature, FormatError> {
    let broken = || {
        let message = format!("column {} is marked as {name} but its shape cannot be read", field.name());
        FormatError::new(ErrorClass::ValueError, message)
    };
    let metadata = field.metadata().get(EXTENSION_TYPE_METADATA_KEY).ok_or_else(broken)?;
    let metadata: Json = serde_json::from_str(metadata).map_err(|_| broken())?;
    let (Some(shape), Some(dtype)) = (metadata.get(0), metadata.get(1)) else { return Err(broken()) };
    let type_name = name.rsplit('.').next().unwrap_or(name).trim_end_matches("ExtensionType");
    Feature::from_json(&serde_json::json!({"shape": shape, "dtype": dtype, "_type": type_name}))
}

/// Whether two fields are equal to `pyarrow`: names, nullability and types, where the names of list items and
/// metadata beside extension types do not count.
#[must_use]
pub fn fields_equal(left: &Field, right: &Field) -> bool {
    left.name() == right.name() && items_equal(left, right)
}

fn items_equal(left: &Field, right: &Field) -> bool {
    left.is_nullable() == right.is_nullable()
        && extension_parts(left) == extension_parts(right)
        && types_equal(left.data_type(), right.data_type())
}

/// Name and metadata of a known extension type; others read as their storage type.
fn extension_parts(field: &Field) -> Option<(&str, Option<&str>)> {
    let name = extension_name(field)?;
    let known = name == JSON_EXTENSION || is_array_extension(name) || FOREIGN_EXTENSIONS.contains(&name);
    let metadata = field.metadata().get(EXTENSION_TYPE_METADATA_KEY).map(String::as_str);
    known.then_some((name, metadata.filter(|metadata| !metadata.is_empty())))
}

/// Whether two types are equal to `pyarrow`.
#[must_use]
pub fn types_equal(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::List(left), DataType::List(right))
        | (DataType::LargeList(left), DataType::LargeList(right))
        | (DataType::ListView(left), DataType::ListView(right))
        | (DataType::LargeListView(left), DataType::LargeListView(right)) => items_equal(left, right),
        (DataType::FixedSizeList(left, left_length), DataType::FixedSizeList(right, right_length)) => {
            left_length == right_length && items_equal(left, right)
        }
        (DataType::Struct(left), DataType::Struct(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| fields_equal(left, right))
        }
        _ => left == right,
    }
}
