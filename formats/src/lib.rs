//! Dataset file formats: bytes in, features and rows out.
//!
//! Owns values and tables, features with their JSON, YAML and Arrow forms, casts, decompression, and one reader per
//! format. Refuses the network: bytes come through [`source::ByteSource`]. Bytes are hostile: every reader works
//! within [`outpost_model::limits`] and fails with a [`FormatError`], never with a panic.

pub mod archive;
pub mod arrow;
pub mod arrow_values;
mod batch_rows;
pub mod cast;
pub mod compression;
pub mod conll;
pub mod csv;
mod encode;
mod encoding;
pub mod error;
pub mod features;
pub mod folder;
#[cfg(test)]
mod golden;
pub mod infer;
pub mod json;
pub mod json_text;
pub mod memory;
pub mod module;
mod panics;
#[cfg(test)]
mod parity;
pub mod parquet;
mod python_values;
#[cfg(test)]
mod simple_cases;
pub mod source;
pub mod table;
pub mod text;
pub mod value;
pub mod webdataset;
mod windows;
pub mod xml;

pub use arrow_values::array_value;
pub use cast::{cast_column, cast_table_to_features, cast_table_to_schema};
pub use error::{ErrorClass, FormatError};
pub use features::{Feature, Features, Media, MediaKind};
pub use infer::{INFERENCE_ROWS, infer_features};
pub use json_text::{DatetimeForm, write_json, write_json_string};
pub use module::{DataFile, Module, Params, Reader, SplitFiles, SplitModule, SplitPlan};
pub use source::ByteSource;
pub use table::{Table, TableReader};
pub use value::Value;
