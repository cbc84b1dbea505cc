//! `cachedResponsesBlue`: stored responses (worker-and-store.md section 1.1).
//!
//! Owns which fields a write sets and how an entry is read back. The names that a listing entry holds are not stored
//! beside it: they are read from its content.

use bytes::Bytes;
use mongodb::bson::raw::{RawArrayBuf, RawBson, RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, Document, doc, rawdoc};
use outpost_model::planning::EntrySummary;
use outpost_model::{ArtifactKey, ConfigName, Entry, ErrorCode, Revision, SplitName, StepKind};

use super::content::{self, Unstorable};
use super::fields::{date, integer, number, text, to_date};
use super::job::{or_null, read_key, revision};
use super::{Misfit, render};

/// The collection.
pub(crate) const COLLECTION: &str = "cachedResponsesBlue";
/// Where the root step lists the configs: array and member.
const CONFIGS: [&str; 2] = ["config_names", "config"];
/// Where a config's listing has the splits.
const SPLITS: [&str; 2] = ["splits", "split"];

/// An entry whose large parts are ready to be written.
pub(crate) struct Prepared {
    pub(crate) summary: EntrySummary,
    http_status: u16,
    content: RawDocumentBuf,
    details: Option<RawDocumentBuf>,
    fields: Document,
}

impl Prepared {
    /// Converts an entry.
    ///
    /// # Errors
    /// [`Unstorable`] with what the database would not take.
    pub(crate) fn new(entry: Entry) -> Result<Self, Unstorable> {
        let content = content::from_json(&entry.body).map_err(|error| error.of_part("content"))?;
        let details = entry.details.as_deref().map(content::from_json).transpose();
        let details = details.map_err(|error| error.of_part("details"))?;
        #[expect(clippy::cast_precision_loss, reason = "a duration, where a double is what is stored")]
        let seconds = entry.duration_ms as f64 / 1_000.0;
        let fields = doc! {
            "http_status": i32::from(entry.http_status),
            "error_code": entry.error_code.map_or(Bson::Null, |code| code.as_str().into()),
            "dataset_git_revision": entry.revision.as_str(),
            "progress": entry.progress.map_or(Bson::Null, Bson::Double),
            "updated_at": to_date(entry.updated_at),
            "job_runner_version": i32::try_from(entry.job_runner_version).unwrap_or(i32::MAX),
            "duration": seconds,
        };
        let http_status = entry.http_status;
        let Entry { key, error_code, revision, names, job_runner_version, .. } = entry;
        let summary = EntrySummary { key, error_code, revision, names, job_runner_version, failed_runs: 0 };
        Ok(Self { summary, http_status, content, details, fields })
    }

    /// What its metric counts.
    pub(crate) fn http_status(&self) -> u16 {
        self.http_status
    }

    /// The command that stores it over what was there and returns the old status: dataset-viewer's upsert of all
    /// fields, with `failed_runs` counted by the server (section 3.6).
    pub(crate) fn upsert(&self) -> Result<RawDocumentBuf, mongodb::bson::error::Error> {
        let failed = i32::from(self.summary.error_code.is_some());
        let same = doc! {"$eq": ["$dataset_git_revision", self.summary.revision.as_str()]};
        let before = doc! {"$cond": [same, {"$ifNull": ["$failed_runs", 0]}, 0]};
        let mut set = RawDocumentBuf::try_from(&self.fields)?;
        set.append(c_str("failed_runs"), RawDocumentBuf::try_from(&doc! {"$add": [before, failed]})?);
        set.append(c_str("content"), rawdoc! {"$literal": self.content.clone()});
        match &self.details {
            Some(details) => set.append(c_str("details"), rawdoc! {"$literal": details.clone()}),
            None => set.append(c_str("details"), RawBson::Null),
        }
        let mut pipeline = RawArrayBuf::new();
        pipeline.push(rawdoc! {"$set": set});
        let mut replaced = doc! {"_id": 0, "http_status": 1, "error_code": 1};
        if let Some(names) = path_of_names(self.summary.key.kind()) {
            replaced.insert(names, 1);
        }
        Ok(rawdoc! {
            "findAndModify": COLLECTION,
            "query": RawDocumentBuf::try_from(&filter(&self.summary.key))?,
            "update": pipeline,
            "upsert": true,
            "hint": {"kind": 1, "dataset": 1, "config": 1, "split": 1},
            "fields": RawDocumentBuf::try_from(&replaced)?,
        })
    }
}

/// What an entry was stored over.
pub(crate) struct Replaced {
    pub(crate) http_status: i32,
    pub(crate) error_code: Option<String>,
    names: Vec<String>,
}

impl Replaced {
    /// Reads the fields that [`Prepared::upsert`] asks for.
    pub(crate) fn read(kind: StepKind, document: &Document) -> Self {
        let content = document.get_document("content").ok();
        Self {
            http_status: integer(document, "http_status").ok().flatten().unwrap_or(0),
            error_code: text(document, "error_code").ok().flatten().map(str::to_owned),
            names: content.map(|content| names(kind, content)).unwrap_or_default(),
        }
    }

    /// The names that it listed; `None` for an error, which says nothing of what was listed before.
    pub(crate) fn names(&self) -> Option<impl Iterator<Item = &str>> {
        self.error_code.is_none().then(|| self.names.iter().map(String::as_str))
    }
}

fn c_str(name: &'static str) -> &'static mongodb::bson::raw::CStr {
    name.try_into().expect("field names hold no NUL")
}

/// Matches the document of an artifact, whether absent names are null or missing.
pub(crate) fn filter(key: &ArtifactKey) -> Document {
    doc! {
        "kind": key.kind().as_str(),
        "dataset": key.dataset().as_str(),
        "config": or_null(key.config().map(ConfigName::as_str)),
        "split": or_null(key.split().map(SplitName::as_str)),
    }
}

/// The fields that [`read_summary`] reads.
pub(crate) fn summary_projection() -> Document {
    doc! {
        "kind": 1, "dataset": 1, "config": 1, "split": 1, "error_code": 1, "http_status": 1,
        "dataset_git_revision": 1, "job_runner_version": 1, "failed_runs": 1,
        "content.config_names.config": 1, "content.splits.split": 1,
    }
}

/// Where the content of a listing has its names.
fn path_of_names(kind: StepKind) -> Option<&'static str> {
    match kind {
        StepKind::DatasetConfigNames => Some("content.config_names.config"),
        StepKind::ConfigSplitNames => Some("content.splits.split"),
        _ => None,
    }
}

/// What planning needs of an entry. An error code that this version does not know is never retried.
///
/// # Errors
/// [`Misfit`].
pub(crate) fn read_summary(document: &Document) -> Result<EntrySummary, Misfit> {
    let key = read_key(document, "kind")?;
    let error_code = text(document, "error_code")?;
    let error_code = error_code.map(|name| ErrorCode::from_name(name).unwrap_or(ErrorCode::UnexpectedError));
    let names = match document.get_document("content") {
        Ok(content) if error_code.is_none() => names(key.kind(), content),
        _ => Vec::new(),
    };
    Ok(EntrySummary {
        error_code,
        revision: revision(document, "dataset_git_revision")?,
        names,
        job_runner_version: integer(document, "job_runner_version")?.unwrap_or(0),
        failed_runs: integer(document, "failed_runs")?.unwrap_or(0),
        key,
    })
}

/// Reads a whole document.
///
/// # Errors
/// [`Misfit`], also for an error code or a content that this version cannot serve.
pub(crate) fn read_entry(raw: &RawDocument) -> Result<Entry, Misfit> {
    let malformed = |error: mongodb::bson::error::Error| Misfit::field("content", &error);
    let part = |name: &'static str| -> Result<Option<Bytes>, Misfit> {
        let value = raw.get(name).map_err(malformed)?;
        match value.and_then(mongodb::bson::RawBsonRef::as_document) {
            Some(object) => {
                Ok(Some(render::to_json(object).map_err(|error| Misfit::field(name, &error))?.into()))
            }
            None if value.is_none_or(|value| value.as_null().is_some()) => Ok(None),
            None => Err(Misfit::field(name, &"is not an object")),
        }
    };
    let body = part("content")?.ok_or_else(|| Misfit::field("content", &"is missing"))?;
    let details = part("details")?;
    let document = without_large_parts(raw).map_err(malformed)?;
    let key = read_key(&document, "kind")?;
    let error_code = text(&document, "error_code")?;
    let unknown = |name| Misfit::field("error_code", &format!("is not known to this version: {name:?}"));
    let error_code =
        error_code.map(|name| ErrorCode::from_name(name).ok_or_else(|| unknown(name))).transpose()?;
    let content = raw.get_document("content").map_err(|error| Misfit::field("content", &error))?;
    let names = match (key.kind(), error_code) {
        (StepKind::DatasetConfigNames | StepKind::ConfigSplitNames, None) => {
            names(key.kind(), &Document::try_from(content).map_err(malformed)?)
        }
        _ => Vec::new(),
    };
    let http_status = integer(&document, "http_status")?;
    Ok(Entry {
        http_status: http_status.ok_or_else(|| Misfit::field("http_status", &"is missing"))?,
        error_code,
        revision: revision(&document, "dataset_git_revision")?,
        body,
        details,
        names,
        progress: number(&document, "progress")?,
        job_runner_version: integer(&document, "job_runner_version")?.unwrap_or(0),
        failed_runs: integer(&document, "failed_runs")?.unwrap_or(0),
        updated_at: date(&document, "updated_at")?.unwrap_or_default(),
        duration_ms: milliseconds(number(&document, "duration")?),
        key,
    })
}

/// The revision of a root entry: what a dataset without a record stands at.
///
/// # Errors
/// [`Misfit`].
pub(crate) fn read_revision(document: &Document) -> Result<Revision, Misfit> {
    revision(document, "dataset_git_revision")
}

/// The document without `content` and `details`.
///
/// # Errors
/// When it is malformed.
pub(crate) fn without_large_parts(raw: &RawDocument) -> Result<Document, mongodb::bson::error::Error> {
    let mut document = Document::new();
    for member in raw {
        let (name, value) = member?;
        if !["content", "details"].contains(&name.as_str()) {
            document.insert(name.as_str(), Bson::try_from(value)?);
        }
    }
    Ok(document)
}

/// The configs or splits that the content of a listing holds, in its order.
fn names(kind: StepKind, content: &Document) -> Vec<String> {
    let [list, member] = match kind {
        StepKind::DatasetConfigNames => CONFIGS,
        StepKind::ConfigSplitNames => SPLITS,
        _ => return Vec::new(),
    };
    let items = content.get_array(list).map_or(&[][..], Vec::as_slice);
    let name = |item: &Bson| item.as_document()?.get_str(member).ok().map(str::to_owned);
    items.iter().filter_map(name).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast to u64 is cut at both ends"
)]
pub(crate) fn milliseconds(seconds: Option<f64>) -> u64 {
    (seconds.unwrap_or(0.0) * 1_000.0).round() as u64
}
