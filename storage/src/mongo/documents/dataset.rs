//! `outpostDatasets`: what is known about a dataset beside its entries, and the guard of its transactions.
//!
//! Owns the fields `_id` (the name), `revision`, `visibility`, `checked_at` and `version`, which every transaction about
//! the dataset increments, so that two of them never both commit. A document without a revision is a guard only.

use mongodb::bson::{Document, doc};
use outpost_model::{DatasetName, DatasetRecord, Revision, TimestampMs, Visibility};

use super::Misfit;
use super::fields::{date, required_text, text, to_date};

/// Reads a record; `None` for a guard only.
///
/// # Errors
/// [`Misfit`].
pub(crate) fn read(document: &Document) -> Result<Option<DatasetRecord>, Misfit> {
    let Some(revision) = text(document, "revision")? else { return Ok(None) };
    let dataset = DatasetName::new(required_text(document, "_id")?);
    Ok(Some(DatasetRecord {
        dataset: dataset.map_err(|error| Misfit::field("_id", &error))?,
        revision: Revision::new(revision).map_err(|error| Misfit::field("revision", &error))?,
        visibility: read_visibility(required_text(document, "visibility")?)?,
        checked_at: date(document, "checked_at")?.unwrap_or_default(),
    }))
}

/// The fields of a record, to be set.
pub(crate) fn fields(revision: &Revision, visibility: Visibility, checked_at: TimestampMs) -> Document {
    doc! {
        "revision": revision.as_str(),
        "visibility": visibility_name(visibility),
        "checked_at": to_date(checked_at),
    }
}

fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Public => "public",
        Visibility::Gated => "gated",
        Visibility::Private => "private",
    }
}

fn read_visibility(name: &str) -> Result<Visibility, Misfit> {
    match name {
        "public" => Ok(Visibility::Public),
        "gated" => Ok(Visibility::Gated),
        "private" => Ok(Visibility::Private),
        other => Err(Misfit::field("visibility", &format!("has the unknown value {other:?}"))),
    }
}
