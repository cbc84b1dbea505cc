//! The JSON of feature types in responses (worker-and-store.md section 5.7).
//!
//! Owns the key order: fields that differ from their default, `_type` last; a struct is a plain object.

use outpost_formats::{Feature, Media};
use serde_json::{Map, Value, json};

pub(super) fn feature_json(feature: &Feature) -> Value {
    match feature {
        Feature::Value { dtype, id: None } => json!({ "dtype": &**dtype, "_type": "Value" }),
        Feature::Value { dtype, id: Some(id) } => json!({ "dtype": &**dtype, "id": &**id, "_type": "Value" }),
        Feature::ClassLabel { names } => {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            json!({ "names": names, "_type": "ClassLabel" })
        }
        Feature::List { feature, length: None } => {
            json!({ "feature": feature_json(feature), "_type": "List" })
        }
        Feature::List { feature, length: Some(length) } => {
            json!({ "feature": feature_json(feature), "length": length, "_type": "List" })
        }
        Feature::LargeList { feature } => json!({ "feature": feature_json(feature), "_type": "LargeList" }),
        Feature::Array { shape, dtype } => {
            json!({ "shape": shape, "dtype": &**dtype, "_type": format!("Array{}D", shape.len()) })
        }
        Feature::Translation { languages } => {
            let languages: Vec<&str> = languages.iter().map(|language| &**language).collect();
            json!({ "languages": languages, "_type": "Translation" })
        }
        Feature::TranslationVariableLanguages { languages, num_languages } => {
            let mut fields = Map::new();
            if let Some(languages) = languages {
                fields.insert("languages".into(), languages.iter().map(|language| &**language).collect());
            }
            if let Some(num_languages) = num_languages {
                fields.insert("num_languages".into(), (*num_languages).into());
            }
            typed(fields, "TranslationVariableLanguages")
        }
        Feature::Media(Media { kind, options }) => {
            let fields = options.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            typed(fields, &format!("{kind:?}"))
        }
        Feature::Json { decode: true } => json!({ "_type": "Json" }),
        Feature::Json { decode: false } => json!({ "decode": false, "_type": "Json" }),
        Feature::Struct(members) => {
            members.0.iter().map(|(name, member)| (name.to_string(), feature_json(member))).collect()
        }
    }
}

fn typed(mut fields: Map<String, Value>, kind: &str) -> Value {
    fields.insert("_type".into(), kind.into());
    Value::Object(fields)
}
