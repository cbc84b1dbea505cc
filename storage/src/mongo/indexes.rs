//! The collections' indexes: dataset-viewer's, under the names that its code gives them, and ours.
//!
//! Owns creating those that are missing (worker-and-store.md section 1). Never drops or changes one that is there: when
//! one is in the way, opening fails and says which.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};
use outpost_model::limits;

use super::connect::OpenError;
use super::documents::job::{OURS, STARTED, WAITING};
use super::documents::response;
use super::errors::code;
use super::{names, webhooks};

const NAMESPACE_NOT_FOUND: i32 = 26;

/// What an index does beside finding documents.
enum Role {
    Plain,
    Unique,
    /// Deletes documents this long after the date in its field.
    Expiry {
        after_s: u64,
    },
    /// The same, for documents with this value in this field.
    ExpiryWhere {
        after_s: u64,
        field: &'static str,
        value: Bson,
    },
    /// Unique among documents that match.
    UniqueWhere {
        condition: Document,
    },
}

struct Wanted {
    /// `-field` sorts down.
    fields: &'static [&'static str],
    /// `None` for the name that the driver makes of the fields.
    name: Option<&'static str>,
    role: Role,
}

/// Creates the missing indexes of the cache database.
///
/// # Errors
/// [`OpenError`] when the database fails or an index is in the way.
pub(super) async fn ensure_cache(cache: &Database) -> Result<(), OpenError> {
    ensure(cache, response::COLLECTION, responses()).await?;
    let metrics = unique(&["kind", "http_status", "error_code"]);
    ensure(cache, names::CACHE_METRICS, vec![metrics]).await
}

/// Creates the missing indexes of the queue database.
///
/// # Errors
/// See [`ensure_cache`].
pub(super) async fn ensure_queue(queue: &Database) -> Result<(), OpenError> {
    ensure(queue, names::JOBS, jobs()).await?;
    ensure(queue, names::LOCKS, locks()).await?;
    let past = expiry("PAST_JOB_EXPIRE_AFTER_SECONDS_BLUE", &["finished_at"], 3_600);
    ensure(queue, names::PAST_JOBS, vec![past]).await?;
    let blocked = expiry("DATASET_BLOCKAGE_EXPIRE_AFTER_SECONDS_BLUE", &["blocked_at"], 21_600);
    ensure(queue, names::BLOCKAGES, vec![plain(&["dataset"]), blocked]).await?;
    let totals = unique(&["job_type", "status", "dataset_status"]);
    ensure(queue, names::JOB_METRICS, vec![totals]).await?;
    ensure(queue, names::WORKER_COUNTS, vec![unique(&["worker_size"])]).await?;
    let attempts = expiry("outpost_attempts_expire", &["updated_at"], limits::MONGO_ATTEMPTS_AGE_S_MAX);
    ensure(queue, names::ATTEMPTS, vec![attempts]).await?;
    let webhooks =
        expiry("outpost_webhooks_expire", &[webhooks::TAKEN_AT], limits::WEBHOOK_ID_AGE_MS_MAX / 1_000);
    ensure(queue, names::WEBHOOKS, vec![webhooks]).await
}

fn responses() -> Vec<Wanted> {
    let updated = Wanted { name: Some("kind_updated"), ..plain(&["kind", "updated_at", "dataset"]) };
    vec![
        unique(&["kind", "dataset", "config", "split"]),
        plain(&["dataset", "kind", "http_status"]),
        plain(&["kind", "http_status", "error_code"]),
        plain(&["kind", "http_status", "_id"]),
        plain(&["kind", "_id"]),
        plain(&["details.cause_exception", "error_code", "details.copied_from_artifact"]),
        plain(&["error_code", "kind", "details.copied_from_artifact"]),
        plain(&["http_status", "error_code", "kind", "updated_at"]),
        plain(&["kind", "http_status", "updated_at"]),
        updated,
    ]
}

fn jobs() -> Vec<Wanted> {
    let one_started = Role::UniqueWhere { condition: doc! {"status": STARTED} };
    let ours = doc! {"status": WAITING, OURS: {"$type": "null"}};
    let one_waiting = Role::UniqueWhere { condition: ours };
    vec![
        plain(&["dataset", "status"]),
        plain(&["type", "dataset", "status"]),
        plain(&["priority", "status", "created_at", "namespace", "difficulty", "dataset", "unicity_id"]),
        plain(&["priority", "status", "created_at", "namespace", "dataset", "difficulty", "unicity_id"]),
        plain(&["priority", "status", "created_at", "difficulty", "dataset", "namespace"]),
        plain(&["priority", "status", "created_at", "dataset", "difficulty", "namespace"]),
        plain(&["priority", "status", "type", "namespace", "unicity_id", "created_at", "-difficulty"]),
        plain(&["status", "type"]),
        plain(&["type", "status"]),
        plain(&["unicity_id", "status", "-created_at"]),
        Wanted { fields: &["unicity_id"], name: Some("outpost_one_started"), role: one_started },
        // Two indexes cannot have the same fields. The second one is null in all that are in here.
        Wanted { fields: &["unicity_id", OURS], name: Some("outpost_one_waiting"), role: one_waiting },
    ]
}

fn locks() -> Vec<Wanted> {
    let expiring = |name, after_s, field, value| Wanted {
        fields: &["updated_at"],
        name: Some(name),
        role: Role::ExpiryWhere { after_s, field, value },
    };
    vec![
        plain(&["_id", "owner"]),
        expiring("LOCK_TTL_SECONDS_NO_OWNER", 600, "owner", Bson::Null),
        expiring("LOCK_TTL_SECONDS_TO_START_JOB", 600, "ttl", Bson::Int32(600)),
        expiring("LOCK_TTL_SECONDS_TO_WRITE_ON_GIT_BRANCH", 3_600, "ttl", Bson::Int32(3_600)),
    ]
}

fn plain(fields: &'static [&'static str]) -> Wanted {
    Wanted { fields, name: None, role: Role::Plain }
}

fn unique(fields: &'static [&'static str]) -> Wanted {
    Wanted { fields, name: None, role: Role::Unique }
}

fn expiry(name: &'static str, fields: &'static [&'static str], after_s: u64) -> Wanted {
    Wanted { fields, name: Some(name), role: Role::Expiry { after_s } }
}

impl Wanted {
    fn keys(&self) -> Document {
        let key = |field: &&str| match field.strip_prefix('-') {
            Some(field) => (field.to_owned(), Bson::Int32(-1)),
            None => ((*field).to_owned(), Bson::Int32(1)),
        };
        self.fields.iter().map(key).collect()
    }

    fn name(&self) -> String {
        let from_keys = || {
            let parts: Vec<String> =
                self.keys().iter().map(|(field, way)| format!("{field}_{way}")).collect();
            parts.join("_")
        };
        self.name.map_or_else(from_keys, str::to_owned)
    }

    fn model(&self) -> IndexModel {
        let mut options = IndexOptions::default();
        options.name = Some(self.name());
        options.unique = self.is_unique().then_some(true);
        options.partial_filter_expression = self.condition();
        options.expire_after = match &self.role {
            Role::Expiry { after_s } | Role::ExpiryWhere { after_s, .. } => {
                Some(Duration::from_secs(*after_s))
            }
            Role::Plain | Role::Unique | Role::UniqueWhere { .. } => None,
        };
        IndexModel::builder().keys(self.keys()).options(options).build()
    }

    fn is_unique(&self) -> bool {
        matches!(self.role, Role::Unique | Role::UniqueWhere { .. })
    }

    fn condition(&self) -> Option<Document> {
        match &self.role {
            Role::ExpiryWhere { field, value, .. } => Some(doc! {*field: value.clone()}),
            Role::UniqueWhere { condition } => Some(condition.clone()),
            Role::Plain | Role::Unique | Role::Expiry { .. } => None,
        }
    }
}

async fn ensure(database: &Database, collection: &'static str, wanted: Vec<Wanted>) -> Result<(), OpenError> {
    let target = database.collection::<Document>(collection);
    let existing = existing(database, collection).await?;
    let mut missing = Vec::new();
    for index in wanted {
        if !is_there(collection, &index, &existing)? {
            missing.push(index.model());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let created = target.create_indexes(missing).await;
    created.map(drop).map_err(|error| {
        OpenError::of_call(database.name(), &format!("create the indexes of {collection}"), error)
    })
}

async fn existing(database: &Database, collection: &str) -> Result<Vec<IndexModel>, OpenError> {
    let failed =
        |error| OpenError::of_call(database.name(), &format!("list the indexes of {collection}"), error);
    let mut cursor = match database.collection::<Document>(collection).list_indexes().await {
        Ok(cursor) => cursor,
        Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut indexes = Vec::new();
    while cursor.advance().await.map_err(failed)? {
        indexes.push(cursor.deserialize_current().map_err(failed)?);
    }
    Ok(indexes)
}

/// Whether an index that does the same is there, under whichever name.
fn is_there(collection: &str, wanted: &Wanted, existing: &[IndexModel]) -> Result<bool, OpenError> {
    let (keys, condition) = (wanted.keys(), wanted.condition());
    let options = |index: &IndexModel| index.options.clone().unwrap_or_default();
    let in_the_way = |found: &IndexModel, problem: &str| OpenError::IndexInTheWay {
        collection: collection.to_owned(),
        found: options(found).name.unwrap_or_default(),
        wanted: format!("{} {keys}", wanted.name()),
        problem: problem.to_owned(),
    };
    for index in existing {
        let found = options(index);
        let is_same = same_keys(&index.keys, &keys) && found.partial_filter_expression == condition;
        if is_same && wanted.is_unique() && found.unique != Some(true) {
            return Err(in_the_way(index, "has the same fields and is not unique"));
        }
        if is_same {
            return Ok(true);
        }
        if found.name.as_deref() == Some(&wanted.name()) {
            return Err(in_the_way(index, "has the name and other fields or options"));
        }
    }
    Ok(false)
}

/// Directions may be stored as any numeric type.
fn same_keys(found: &Document, wanted: &Document) -> bool {
    let direction = |value: &Bson| match value {
        Bson::Int32(way) => Some(i64::from(*way)),
        Bson::Int64(way) => Some(*way),
        #[expect(clippy::cast_possible_truncation, reason = "1.0 or -1.0")]
        Bson::Double(way) => Some(*way as i64),
        _ => None,
    };
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|((a, x), (b, y))| a == b && direction(x) == direction(y))
}
