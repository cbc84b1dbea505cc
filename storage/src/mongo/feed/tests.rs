//! The feed against a real mongod.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{Client, Collection, Database};
use outpost_model::{ArtifactKey, Epoch, Position, StepKind};

use super::*;
use crate::contract::{dataset, key};
use crate::mirror::{Changed, Mirror};
use crate::mirror_store::MirrorSummary;
use crate::mongo::documents::response;
use crate::mongo::names;
use crate::testing::mongod::{self, Databases, Mongod};

mod contract;
mod exact;
mod failures;
mod follow;
mod history;
mod latency;
mod poison;
mod server;

/// Long enough for a busy machine; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database with one mirror and, mostly, a feed between them.
struct Site {
    client: Client,
    databases: Databases,
    config: MongoConfig,
    directory: tempfile::TempDir,
    mirror: Option<MirrorStore>,
    feed: Option<MongoFeed>,
}

impl Site {
    /// A site on the shared server with an epoch, before the feed starts; `None` when there is no server.
    async fn new() -> Option<Self> {
        Some(Self::on(mongod::shared().await?).await)
    }

    async fn on(server: &Mongod) -> Self {
        Self::at(server.url()).await
    }

    async fn at(url: &str) -> Self {
        let databases = Databases::random();
        let config = MongoConfig {
            cache_database: databases.cache.clone(),
            queue_database: databases.queue.clone(),
            ..MongoConfig::new(url)
        };
        let client = Client::with_uri_str(url).await.unwrap();
        connect::epoch(&client.database(&databases.cache)).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mirror = Some(MirrorStore::open(directory.path()).unwrap());
        Self { client, databases, config, directory, mirror, feed: None }
    }

    /// Another primary on the same database.
    async fn beside(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mirror = Some(MirrorStore::open(directory.path()).unwrap());
        let client = Client::with_uri_str(&self.config.url).await.unwrap();
        let (databases, config) = (self.databases.clone(), self.config.clone());
        Self { client, databases, config, directory, mirror, feed: None }
    }

    async fn start(&mut self) {
        self.feed = Some(MongoFeed::start(&self.config, self.mirror().clone()).await.unwrap());
    }

    async fn stop(&mut self) -> FeedStatus {
        let feed = self.feed.take().unwrap();
        let status = feed.status();
        feed.stop().await;
        status
    }

    /// Ends the process, so to say, and opens the mirror again.
    async fn reopen(&mut self) {
        if self.feed.is_some() {
            self.stop().await;
        }
        self.mirror = None;
        self.mirror = Some(MirrorStore::open(self.directory.path()).unwrap());
    }

    fn mirror(&self) -> &MirrorStore {
        self.mirror.as_ref().unwrap()
    }

    fn status(&self) -> FeedStatus {
        self.feed.as_ref().unwrap().status()
    }

    fn cache(&self) -> Database {
        self.client.database(&self.databases.cache)
    }

    fn responses(&self) -> Collection<Document> {
        self.cache().collection(response::COLLECTION)
    }

    fn datasets(&self) -> Collection<Document> {
        self.cache().collection(names::DATASETS)
    }

    async fn epoch(&self) -> Epoch {
        connect::epoch(&self.cache()).await.unwrap()
    }

    /// Waits until the mirror has everything written so far.
    async fn caught_up(&self) -> Position {
        let mut session = self.client.start_session().await.unwrap();
        let datasets = self.datasets();
        let read = datasets.find_one(doc! {"_id": "none"});
        read.read_concern(mongodb::options::ReadConcern::majority()).session(&mut session).await.unwrap();
        let seq = stream::seq_of(session.operation_time().unwrap());
        let epoch = self.epoch().await;
        self.until("it is caught up", || {
            self.mirror().position().covers(&Position { epoch, seq }) == Some(true)
        })
        .await;
        self.mirror().position()
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            let status = self.feed.as_ref().map(MongoFeed::status);
            assert!(
                Instant::now() < deadline,
                "waited in vain until {what}: {status:?} {:?}",
                self.mirror().summary()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The mirror holds exactly what the database does.
    async fn assert_equal(&self) {
        self.caught_up().await;
        let mut cursor = self
            .cache()
            .collection::<mongodb::bson::RawDocumentBuf>(response::COLLECTION)
            .find(doc! {})
            .await
            .unwrap();
        let mut count = 0;
        while cursor.advance().await.unwrap() {
            let Ok(entry) = response::read_entry(cursor.current()) else { continue };
            let has_other_id = cursor.current().get_object_id("_id").is_err();
            if has_other_id || entry.body.len() > limits::CONTENT_BYTES_MAX {
                continue;
            }
            let read =
                self.mirror().get(&entry.key).unwrap().unwrap_or_else(|| panic!("{} is missing", entry.key));
            assert_eq!((read.version, &read.body), (entry.version(), &entry.body), "{}", entry.key);
            count += 1;
        }
        let sound = doc! {"revision": {"$ne": null}, "visibility": {"$in": ["public", "gated", "private"]}};
        let records = self.datasets().count_documents(sound).await.unwrap();
        self.mirror().flushed().await.unwrap();
        let summary = self.mirror().summary();
        assert_eq!((summary.entries, summary.datasets), (count, records));
    }

    async fn end(mut self) {
        if self.feed.is_some() {
            self.stop().await;
        }
        self.databases.drop_both(&self.client).await;
    }

    fn body(&self, split: &str) -> Option<Bytes> {
        self.mirror().get(&rows(split)).unwrap().map(|entry| entry.body)
    }
}

fn rows(split: &str) -> ArtifactKey {
    key(StepKind::SplitFirstRows, "u/d", Some("default"), Some(split))
}

/// A response as dataset-viewer writes it.
fn written(split: &str, text: &str) -> Document {
    doc! {
        "kind": "split-first-rows", "dataset": "u/d", "config": "default", "split": split,
        "http_status": 200, "error_code": Bson::Null, "content": {"text": text}, "details": Bson::Null,
        "dataset_git_revision": "r1", "progress": 1.0, "job_runner_version": 1, "failed_runs": 0,
        "updated_at": DateTime::now(), "duration": 0.5,
    }
}

fn json(text: &str) -> Option<Bytes> {
    Some(format!(r#"{{"text":"{text}"}}"#).into())
}

fn filter(split: &str) -> Document {
    response::filter(&rows(split))
}

fn set(text: &str) -> Document {
    doc! {"$set": {"content": {"text": text}, "updated_at": DateTime::now()}}
}

fn record(name: &str, revision: &str) -> Document {
    doc! {"_id": name, "revision": revision, "visibility": "public", "checked_at": DateTime::now(), "version": 1i64}
}
