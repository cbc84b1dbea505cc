//! Opening: from a URL to connections, checked databases, indexes and the epoch.
//!
//! Owns what a start refuses, each with the way to fix it: a server that cannot be reached or does not know us, a
//! server without a replica set, databases that we may not write. Waits for nothing longer than the bounds in
//! `limits`.

use std::time::Duration;

use mongodb::bson::{DateTime, Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{ClientOptions, ReadConcern, ReturnDocument};
use mongodb::{Client, Database};
use outpost_model::{Epoch, limits};

use super::documents::response;
use super::errors::{AUTHENTICATION_FAILED, NAMESPACE_EXISTS, UNAUTHORIZED, code, is_disk_full};
use super::transaction::durable;
use super::{indexes, names};

/// What the driver calls a member of a set that was never initiated.
const UNINITIATED: &str = "RsGhost";

/// Where the authority is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoConfig {
    /// `mongodb://…` with every member, or one and `replicaSet=`.
    pub url: String,
    /// Database of the cache (`CACHE_MONGO_DATABASE`).
    pub cache_database: String,
    /// Database of the queue (`QUEUE_MONGO_DATABASE`).
    pub queue_database: String,
}

impl MongoConfig {
    /// dataset-viewer's databases at a URL.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            cache_database: "dataset_viewer_cache".to_owned(),
            queue_database: "dataset_viewer_queue".to_owned(),
        }
    }
}

/// Why a MongoDB cannot be the authority, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The URL or a database name cannot be used.
    #[error("the MongoDB URL cannot be used: {0}; expected mongodb://host1,host2/?replicaSet=name")]
    InvalidUrl(String),
    /// A name is not one that MongoDB takes, or both databases are one.
    #[error(
        "{0:?} cannot be the name of a database; set CACHE_MONGO_DATABASE and QUEUE_MONGO_DATABASE to two different names of letters, digits, '_' and '-'"
    )]
    InvalidDatabase(String),
    /// No member of the replica set that takes writes answered.
    #[error(
        "no MongoDB primary could be reached: {0}; check that the hosts in the URL are right and reachable, that replicaSet= is the set's name, and that the set has a primary"
    )]
    Unreachable(String),
    /// The credentials are wrong.
    #[error("MongoDB refused the credentials: {0}; check user, password and authSource in the URL")]
    Unauthenticated(String),
    /// The user, or nobody, may not do what is needed there.
    #[error(
        "MongoDB does not let this user {action} in the database {database:?}: {cause}; put credentials in the URL of a user with the role readWrite on both databases, or correct CACHE_MONGO_DATABASE and QUEUE_MONGO_DATABASE"
    )]
    Forbidden {
        /// The database.
        database: String,
        /// What was tried.
        action: String,
        /// The server's words.
        cause: String,
    },
    /// A server that is no member of a replica set.
    #[error(
        "this MongoDB is a standalone server, which has neither transactions nor change streams; restart it as a replica set of one member:\n  mongod --replSet rs0 <its other options>\n  mongosh --eval 'rs.initiate()'"
    )]
    Standalone,
    /// A member of a set that was never initiated.
    #[error(
        "this MongoDB was started with --replSet and never initiated; run:\n  mongosh --eval 'rs.initiate()'"
    )]
    NotInitiated,
    /// An index that we need cannot be made.
    #[error(
        "the index {found:?} of {collection} {problem}, but {wanted} is needed; drop or rename it and start again"
    )]
    IndexInTheWay {
        /// The collection.
        collection: String,
        /// The name of the index that is there.
        found: String,
        /// What is needed.
        wanted: String,
        /// What is wrong with the one that is there.
        problem: String,
    },
    /// The server has no room to write.
    #[error("the disk of the MongoDB server is full: {0}; make room there and start again")]
    DiskFull(String),
    /// Anything else that the database said.
    #[error("failed to {action} in the database {database:?}: {cause}")]
    Database {
        /// The database.
        database: String,
        /// What was tried.
        action: String,
        /// The server's words.
        cause: String,
    },
}

impl OpenError {
    /// A failed call, by what the server or the driver says.
    #[expect(clippy::needless_pass_by_value, reason = "used as the argument of map_err")]
    pub(super) fn of_call(database: &str, action: &str, error: Error) -> Self {
        let cause = error.to_string();
        let (database, action) = (database.to_owned(), action.to_owned());
        match (error.kind.as_ref(), code(&error)) {
            (ErrorKind::Authentication { .. }, _) | (_, Some(AUTHENTICATION_FAILED)) => {
                Self::Unauthenticated(cause)
            }
            (_, Some(UNAUTHORIZED)) => Self::Forbidden { database, action, cause },
            // With `replicaSet=` in the URL such a server is never selected, and only the driver's text tells why.
            (ErrorKind::ServerSelection { .. }, _) if cause.contains(UNINITIATED) => Self::NotInitiated,
            (ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::DnsResolve { .. }, _) => {
                Self::Unreachable(cause)
            }
            _ if is_disk_full(&error) => Self::DiskFull(cause),
            _ => Self::Database { database, action, cause },
        }
    }
}

/// What opening gives.
pub(super) struct Opened {
    pub(super) client: Client,
    pub(super) cache: Database,
    pub(super) queue: Database,
    pub(super) epoch: Epoch,
}

/// Connects, checks and creates what is missing.
pub(super) async fn open(config: &MongoConfig) -> Result<Opened, OpenError> {
    check_names(config)?;
    let client = Client::with_options(options(&config.url).await?).map_err(|error| invalid_url(&error))?;
    check_replica_set(&client).await?;
    let cache = client.database(&config.cache_database);
    let queue = client.database(&config.queue_database);
    // The first write: a user who may only read is told apart here.
    for collection in [response::COLLECTION, names::DATASETS, names::META] {
        create_collection(&cache, collection).await?;
    }
    for collection in [names::JOBS, names::ATTEMPTS] {
        create_collection(&queue, collection).await?;
    }
    let epoch = epoch(&cache).await?;
    indexes::ensure_cache(&cache).await?;
    indexes::ensure_queue(&queue).await?;
    Ok(Opened { client, cache, queue, epoch })
}

fn check_names(config: &MongoConfig) -> Result<(), OpenError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for name in [&config.cache_database, &config.queue_database] {
        if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
            return Err(OpenError::InvalidDatabase(name.clone()));
        }
    }
    if config.cache_database == config.queue_database {
        return Err(OpenError::InvalidDatabase(config.queue_database.clone()));
    }
    Ok(())
}

pub(super) async fn options(url: &str) -> Result<ClientOptions, OpenError> {
    if url.starts_with("mongodb+srv:") {
        return Err(OpenError::InvalidUrl("mongodb+srv is not supported, list the members".to_owned()));
    }
    let mut options = ClientOptions::parse(url).await.map_err(|error| invalid_url(&error))?;
    options.app_name.get_or_insert_with(|| "outpost".to_owned());
    options.server_selection_timeout.get_or_insert(Duration::from_millis(limits::MONGO_SERVER_SELECTION_MS));
    options.connect_timeout.get_or_insert(Duration::from_millis(limits::MONGO_CONNECT_MS));
    options.max_pool_size.get_or_insert(limits::MONGO_CONNECTIONS_MAX);
    // What an acknowledged write promises and where reads go is ours to say, not the URL's.
    options.write_concern = Some(durable());
    options.read_concern = Some(ReadConcern::local());
    options.selection_criteria = None;
    options.retry_writes = Some(true);
    Ok(options)
}

pub(super) fn invalid_url(error: &Error) -> OpenError {
    OpenError::InvalidUrl(error.to_string())
}

/// A replica set member or a router; `hello` is answered without credentials.
async fn check_replica_set(client: &Client) -> Result<(), OpenError> {
    let hello = client.database("admin").run_command(doc! {"hello": 1}).await;
    let hello = hello.map_err(|error| OpenError::of_call("admin", "say hello", error))?;
    let is_router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if is_router || hello.get_str("setName").is_ok() {
        return Ok(());
    }
    if hello.get_bool("isreplicaset").unwrap_or(false) {
        return Err(OpenError::NotInitiated);
    }
    Err(OpenError::Standalone)
}

async fn create_collection(database: &Database, name: &str) -> Result<(), OpenError> {
    match database.create_collection(name).await {
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
        result => {
            result.map_err(|error| OpenError::of_call(database.name(), &format!("create {name}"), error))
        }
    }
}

/// The id of this history, made by whoever comes first.
pub(super) async fn epoch(cache: &Database) -> Result<Epoch, OpenError> {
    let failed = |error| OpenError::of_call(cache.name(), "read the epoch", error);
    let fresh = format!("{:032x}", fastrand::u128(..));
    let meta = cache.collection::<Document>(names::META);
    let create = doc! {"$setOnInsert": {"epoch": fresh, "created_at": DateTime::now()}};
    let document = meta
        .find_one_and_update(doc! {"_id": "epoch"}, create)
        .upsert(true)
        .return_document(ReturnDocument::After)
        .await
        .map_err(failed)?;
    let text = document.as_ref().and_then(|document| document.get_str("epoch").ok());
    let digits = text.filter(|text| text.len() == 32).and_then(|text| u128::from_str_radix(text, 16).ok());
    digits.map(Epoch).ok_or_else(|| OpenError::Database {
        database: cache.name().to_owned(),
        action: "read the epoch".to_owned(),
        cause: format!("{}._id=epoch does not hold 32 hexadecimal digits", names::META),
    })
}
