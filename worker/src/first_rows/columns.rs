//! Columns: their checks, their JSON, and which of them are never cut.
//!
//! Owns the limits of worker-and-store.md section 5.3 and the protected columns of section 5.4 step 3. Columns of media
//! without a form for readers are refused by name; so are all of them where there is no place for assets.

use std::sync::Arc;

use outpost_formats::{Feature, Features, Media, MediaKind, Value};
use outpost_model::limits::{COLUMN_NAME_CHARS_MAX, FirstRowsLimits};
use serde::Serialize;

use super::FirstRowsError;
use crate::media::holds_media;
use crate::outcome::to_json;

/// Characters of an overlong column name that its error shows.
const NAME_START_CHARS: usize = 50;

/// An item of `features`.
#[derive(Serialize)]
pub(super) struct FeatureItem<'a> {
    feature_idx: usize,
    name: &'a str,
    r#type: serde_json::Value,
}

impl<'a> FeatureItem<'a> {
    pub(super) fn all(features: &'a Features) -> Vec<Self> {
        let columns = features.0.iter().enumerate();
        let item = |(feature_idx, (name, feature)): (usize, &'a (Arc<str>, Feature))| Self {
            feature_idx,
            name,
            r#type: feature.to_json(),
        };
        columns.map(item).collect()
    }
}

/// Which media can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaSupport {
    /// None: there is no place for assets.
    None,
    /// Images, audio, videos and PDF documents.
    Assets,
}

impl MediaSupport {
    fn shows(self, kind: MediaKind) -> bool {
        match (self, kind) {
            (Self::None, _) | (Self::Assets, MediaKind::Nifti | MediaKind::Mesh) => false,
            (Self::Assets, MediaKind::Image | MediaKind::Audio | MediaKind::Video | MediaKind::Pdf) => true,
        }
    }
}

/// A column as the rows need it.
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    /// The name as a JSON string.
    pub(super) name_json: Vec<u8>,
    pub(super) feature: &'a Feature,
    /// Never cut.
    pub(super) protected: bool,
    /// Its cells are or hold media.
    pub(super) holds_media: bool,
}

impl<'a> Column<'a> {
    pub(super) fn all(features: &'a Features, rows: &[Vec<(Arc<str>, Value)>]) -> Vec<Self> {
        let columns = features.0.iter().enumerate();
        let column = |(index, (name, feature)): (usize, &'a (Arc<str>, Feature))| Self {
            name,
            name_json: to_json(&**name),
            feature,
            protected: is_protected(index, name, feature, rows),
            holds_media: holds_media(feature),
        };
        columns.map(column).collect()
    }
}

/// Checks what can be said without rows.
///
/// # Errors
/// [`FirstRowsError`] for too many columns, a name that is too long, a media column.
pub fn check_columns(
    features: &Features,
    limits: &FirstRowsLimits,
    media: MediaSupport,
) -> Result<(), FirstRowsError> {
    let too_long = features.0.iter().map(|(name, _)| name).find(|name| is_too_long(name));
    if let Some(name) = too_long {
        return Err(FirstRowsError::TooLongColumnName {
            start: name.chars().take(NAME_START_CHARS).collect(),
            chars: name.chars().count(),
            chars_max: COLUMN_NAME_CHARS_MAX,
        });
    }
    let (columns, columns_max) = (features.0.len(), limits.columns_max);
    if columns > columns_max {
        return Err(FirstRowsError::TooManyColumns { columns, columns_max });
    }
    for (name, feature) in &features.0 {
        if let Some(kind) = refused_media_in(feature, media) {
            let reason = match (media, kind) {
                (MediaSupport::Assets, _) | (_, MediaKind::Nifti | MediaKind::Mesh) => format!(
                    "its type is or holds {kind:?}, which has no form for readers; store what is to be seen as Image, \
                     Video or Pdf, or as values"
                ),
                (MediaSupport::None, _) => {
                    format!("its type is or holds {kind:?}, and this node has no place for such files")
                }
            };
            return Err(FirstRowsError::Cell { column: name.to_string(), reason });
        }
    }
    Ok(())
}

fn is_too_long(name: &str) -> bool {
    name.len() > COLUMN_NAME_CHARS_MAX && name.chars().count() > COLUMN_NAME_CHARS_MAX
}

fn refused_media_in(feature: &Feature, support: MediaSupport) -> Option<MediaKind> {
    match feature {
        Feature::Media(Media { kind, .. }) => (!support.shows(*kind)).then_some(*kind),
        Feature::List { feature, .. } | Feature::LargeList { feature } => refused_media_in(feature, support),
        Feature::Struct(members) => {
            members.0.iter().find_map(|(_, member)| refused_media_in(member, support))
        }
        Feature::Value { .. }
        | Feature::ClassLabel { .. }
        | Feature::Array { .. }
        | Feature::Translation { .. }
        | Feature::TranslationVariableLanguages { .. }
        | Feature::Json { .. } => None,
    }
}

/// A media column is protected; a string column when more than 30 % of all fetched rows hold a web address.
fn is_protected(index: usize, name: &str, feature: &Feature, rows: &[Vec<(Arc<str>, Value)>]) -> bool {
    match feature {
        Feature::Media(_) => true,
        Feature::Value { dtype, .. } if &**dtype == "string" => {
            let urls = rows.iter().filter(|row| holds_url(row, index, name)).count();
            urls * 10 > rows.len() * 3
        }
        _ => false,
    }
}

fn holds_url(row: &[(Arc<str>, Value)], index: usize, name: &str) -> bool {
    let in_place = row.get(index).filter(|(column, _)| &**column == name);
    match in_place.or_else(|| row.iter().find(|(column, _)| &**column == name)) {
        Some((_, Value::Str(text))) => text.starts_with("http://") || text.starts_with("https://"),
        _ => false,
    }
}
