//! Features from the card and from `dataset_infos.json`.
//!
//! Owns nothing but the way from [`Yaml`] to the `formats` crate, whose errors become [`LoadError`]s.

use outpost_formats::Features;

use crate::error::LoadError;
use crate::yaml::Yaml;

/// Features in the card's dialect (dataset-loading.md section 3.5).
///
/// # Errors
/// The classes of malformed features.
pub fn from_yaml(features: &Yaml) -> Result<Features, LoadError> {
    Features::from_yaml(&features.to_json()).map_err(LoadError::from)
}

/// Features as JSON (dataset-loading.md section 4.1).
///
/// # Errors
/// The classes of malformed features.
pub fn from_json(features: &Yaml) -> Result<Features, LoadError> {
    Features::from_json(&features.to_json()).map_err(LoadError::from)
}
