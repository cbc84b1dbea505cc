//! Features: the types of a dataset's columns.
//!
//! Owns the type tree of dataset-loading.md section 4.1 and its conversions: JSON (`to_dict`), the README's YAML
//! dialect, Arrow fields. A `Features` keeps its columns in order. What cannot be read fails with the class and message
//! that the original has for it.

pub mod arrow;
pub mod dtype;
mod json;
pub mod naming;
pub mod repr;
pub mod type_text;
mod yaml;

use std::sync::Arc;

/// The type of a column or of something nested in one.
#[derive(Debug, Clone, PartialEq)]
pub enum Feature {
    /// A scalar with an Arrow dtype string, spelled as written (`int64`, `string`, `timestamp[us, tz=UTC]`).
    Value {
        /// The dtype.
        dtype: Arc<str>,
        /// A free text that some exporters attach (`field`, `question`); kept because responses show it.
        id: Option<Arc<str>>,
    },
    /// Integer labels with names.
    ClassLabel {
        /// Name of each label id.
        names: Arc<[Arc<str>]>,
    },
    /// A list, of fixed length when given.
    List {
        /// Item type.
        feature: Box<Feature>,
        /// Fixed length.
        length: Option<usize>,
    },
    /// A list with 64-bit offsets.
    LargeList {
        /// Item type.
        feature: Box<Feature>,
    },
    /// `Array2D` to `Array5D`.
    Array {
        /// Sizes per dimension, outermost first; only the first may be open. Its length is the rank, 2 to 5.
        shape: Vec<Option<usize>>,
        /// Item dtype.
        dtype: Arc<str>,
    },
    /// Texts by language.
    Translation {
        /// Languages as declared; the struct that stores them has them sorted.
        languages: Vec<Arc<str>>,
    },
    /// Texts with the language of each.
    TranslationVariableLanguages {
        /// Languages, sorted, when declared.
        languages: Option<Vec<Arc<str>>>,
        /// Their number.
        num_languages: Option<u64>,
    },
    /// Image, Audio, Video, Pdf, Nifti or Mesh: stored as struct{bytes, path}.
    Media(Media),
    /// JSON text in an `arrow.json` column.
    Json {
        /// Whether cells are decoded on read; true by default.
        decode: bool,
    },
    /// Named members, in order.
    Struct(Features),
}

impl Feature {
    /// A scalar with this dtype.
    #[must_use]
    pub fn value(dtype: &str) -> Self {
        Self::Value { dtype: dtype.into(), id: None }
    }

    /// A list of any length.
    #[must_use]
    pub fn list(feature: Self) -> Self {
        Self::List { feature: Box::new(feature), length: None }
    }
}

/// A media type and its non-default options.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// Which kind of media.
    pub kind: MediaKind,
    /// Options that differ from their default, in the order that JSON writes them (`sampling_rate`, `mode`,
    /// `decode` ...), `_type` left out.
    pub options: Vec<(Arc<str>, serde_json::Value)>,
}

/// Kinds of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the feature types")]
pub enum MediaKind {
    Image,
    Audio,
    Video,
    Pdf,
    Nifti,
    Mesh,
}

/// Columns in order, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features(pub Vec<(Arc<str>, Feature)>);

impl Features {
    /// The type of a column.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Feature> {
        self.0.iter().find(|(column, _)| &**column == name).map(|(_, feature)| feature)
    }
}

#[cfg(test)]
mod tests;
