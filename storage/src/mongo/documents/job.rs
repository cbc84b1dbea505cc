//! `jobsBlue`: waiting and started jobs (worker-and-store.md section 1.3).

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use outpost_model::{
    ArtifactKey, ConfigName, DatasetName, Job, JobId, JobState, NewJob, Priority, Revision, SplitName,
    StepKind, TimestampMs, limits,
};

use super::Misfit;
use super::fields::{date, integer, required_text, text, to_date};

/// Value of `status` of a job that nobody runs.
pub(crate) const WAITING: &str = "waiting";
/// Value of `status` of a job under a lease.
pub(crate) const STARTED: &str = "started";
/// The field that is null, not missing, in documents that were created here.
pub(crate) const OURS: &str = "terminated_at";

/// One document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredJob {
    pub(crate) id: ObjectId,
    pub(crate) key: ArtifactKey,
    pub(crate) revision: Revision,
    pub(crate) priority: Priority,
    pub(crate) difficulty: u8,
    pub(crate) created_at: TimestampMs,
    pub(crate) is_started: bool,
    /// Of the current run, or of the last one when the job waits again: the next fencing token is greater.
    pub(crate) started_at: Option<TimestampMs>,
    pub(crate) last_heartbeat: Option<TimestampMs>,
}

impl StoredJob {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Misfit`].
    pub(crate) fn read(document: &Document) -> Result<Self, Misfit> {
        let id = document.get_object_id("_id").map_err(|error| Misfit::field("_id", &error))?;
        let status = text(document, "status")?.unwrap_or(WAITING);
        if ![WAITING, STARTED].contains(&status) {
            return Err(Misfit::field("status", &format!("has the unknown value {status:?}")));
        }
        Ok(Self {
            id,
            key: read_key(document, "type")?,
            revision: revision(document, "revision")?,
            priority: read_priority(text(document, "priority")?)?,
            difficulty: integer(document, "difficulty")?.unwrap_or(50),
            created_at: date(document, "created_at")?.unwrap_or_default(),
            is_started: status == STARTED,
            started_at: date(document, "started_at")?,
            last_heartbeat: date(document, "last_heartbeat")?,
        })
    }

    /// The job in the model's terms.
    pub(crate) fn into_job(self, attempts: u32, rerun: bool) -> Job {
        let state = match self.started_at.filter(|_| self.is_started) {
            Some(started_at) => JobState::Started {
                token: started_at.0,
                started_at,
                lease_expires_at: self
                    .last_heartbeat
                    .unwrap_or(started_at)
                    .plus_ms(limits::MONGO_SILENCE_MS_MAX),
                rerun,
            },
            None => JobState::Waiting { not_before: self.created_at },
        };
        Job {
            id: job_id(self.id),
            key: self.key,
            revision: self.revision,
            priority: self.priority,
            difficulty: self.difficulty,
            created_at: self.created_at,
            attempts,
            state,
        }
    }
}

/// The document of a new, waiting job, as mongoengine inserts it: without the fields that are null, but for
/// `terminated_at`. That it is there and null tells our jobs from those of dataset-viewer, which may create several
/// waiting ones: of ours a unique index admits one ([`OURS`]).
pub(crate) fn new_document(new: &NewJob, now: TimestampMs) -> Document {
    let key = &new.key;
    let mut document = doc! {
        "_id": ObjectId::new(),
        "type": key.kind().as_str(),
        "dataset": key.dataset().as_str(),
        "revision": new.revision.as_str(),
    };
    if let Some(config) = key.config() {
        document.insert("config", config.as_str());
    }
    if let Some(split) = key.split() {
        document.insert("split", split.as_str());
    }
    document.extend(doc! {
        "unicity_id": unicity_id(key, &new.revision),
        "namespace": key.dataset().namespace(),
        "priority": new.priority.as_str(),
        "status": WAITING,
        "difficulty": i32::from(new.difficulty),
        "created_at": to_date(now),
        OURS: Bson::Null,
    });
    document
}

/// `{type},{dataset},{revision}[,{config}[,{split}]]`.
pub(crate) fn unicity_id(key: &ArtifactKey, revision: &Revision) -> String {
    let mut id = format!("{},{},{revision}", key.kind(), key.dataset());
    for part in
        [key.config().map(ConfigName::as_str), key.split().map(SplitName::as_str)].into_iter().flatten()
    {
        id.push(',');
        id.push_str(part);
    }
    id
}

/// The artifact that a document is about; `kind_field` names the field with the step.
pub(crate) fn read_key(document: &Document, kind_field: &'static str) -> Result<ArtifactKey, Misfit> {
    let kind = required_text(document, kind_field)?;
    let kind = StepKind::from_name(kind).ok_or_else(|| Misfit::ForeignKind(kind.to_owned()))?;
    let dataset = DatasetName::new(required_text(document, "dataset")?);
    let config = text(document, "config")?.map(ConfigName::new).transpose();
    let split = text(document, "split")?.map(SplitName::new).transpose();
    ArtifactKey::new(
        kind,
        dataset.map_err(|error| Misfit::field("dataset", &error))?,
        config.map_err(|error| Misfit::field("config", &error))?,
        split.map_err(|error| Misfit::field("split", &error))?,
    )
    .map_err(|error| Misfit::field("config", &error))
}

/// A revision.
pub(crate) fn revision(document: &Document, field: &'static str) -> Result<Revision, Misfit> {
    Revision::new(required_text(document, field)?).map_err(|error| Misfit::field(field, &error))
}

fn read_priority(name: Option<&str>) -> Result<Priority, Misfit> {
    let Some(name) = name else { return Ok(Priority::Low) };
    let unknown = || Misfit::field("priority", &format!("has the unknown value {name:?}"));
    Priority::from_name(name).ok_or_else(unknown)
}

/// The ObjectId as the model's id.
pub(crate) fn job_id(id: ObjectId) -> JobId {
    let mut bytes = [0; 16];
    bytes[4..].copy_from_slice(&id.bytes());
    JobId(u128::from_be_bytes(bytes))
}

/// The ObjectId of a job; `None` for an id of another authority.
pub(crate) fn object_id(id: JobId) -> Option<ObjectId> {
    let bytes = id.0.to_be_bytes();
    let (zeros, id) = bytes.split_at(4);
    let id: [u8; 12] = id.try_into().ok()?;
    zeros.iter().all(|byte| *byte == 0).then(|| ObjectId::from_bytes(id))
}

/// A name that may be absent, as filters ask for it: null matches a missing field too.
pub(crate) fn or_null(name: Option<&str>) -> Bson {
    name.map_or(Bson::Null, |name| Bson::String(name.to_owned()))
}
