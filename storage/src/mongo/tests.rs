//! MongoDB under the contract, and what only it promises.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mongodb::Client;
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Position};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::{MongoConfig, MongoStore};
use crate::authority::Authority;
use crate::contract::{OperatedSubject, Reopened, Subject};
use crate::error::StorageError;
use crate::mirror::{Changed, Mirror, MirrorEntry};
use crate::operations::Operations;
use crate::testing::mongod::{self, Databases};

/// A store in databases of its own, dropped with it.
pub(super) struct Mongo {
    store: Option<MongoStore>,
    client: Client,
    config: MongoConfig,
    databases: Databases,
}

/// A fresh store on the tests' server; `None` when there is no server.
pub(super) async fn fresh() -> Option<Mongo> {
    let server = mongod::shared().await?;
    let databases = Databases::random();
    let config = MongoConfig {
        url: server.url().to_owned(),
        cache_database: databases.cache.clone(),
        queue_database: databases.queue.clone(),
    };
    let store = Some(MongoStore::open(&config).await.unwrap());
    Some(Mongo { store, client: server.client().await, config, databases })
}

impl Mongo {
    fn store(&self) -> MongoStore {
        self.store.clone().expect("open between restarts")
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        self.store = None;
        block_in_place(|| Handle::current().block_on(self.databases.drop_both(&self.client)));
    }
}

#[async_trait]
impl Subject for Mongo {
    fn authority(&self) -> Arc<dyn Authority> {
        Arc::new(self.store())
    }

    async fn mirror(&self) -> Arc<dyn Mirror> {
        let position = self.store().position().await.unwrap();
        Arc::new(ReadThrough { store: self.store(), position, seq: watch::channel(position.seq).0 })
    }

    async fn reopen(&mut self) -> Reopened {
        self.store = None;
        self.store = Some(MongoStore::open(&self.config).await.unwrap());
        Reopened::LeasesKept
    }
}

impl OperatedSubject for Mongo {
    fn operations(&self) -> Arc<dyn Operations> {
        Arc::new(self.store())
    }
}

/// Reads each time what is stored: a mirror that is always caught up and has no log.
struct ReadThrough {
    store: MongoStore,
    position: Position,
    seq: watch::Sender<u64>,
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let wait = || Handle::current().block_on(future);
    // Cases read from the runtime's threads and from those for blocking calls.
    block_in_place(wait)
}

impl Mirror for ReadThrough {
    fn position(&self) -> Position {
        self.position
    }

    fn get(&self, key: &ArtifactKey) -> Result<Option<MirrorEntry>, StorageError> {
        let entry = wait(self.store.entry(key))?;
        Ok(entry.map(|entry| MirrorEntry {
            http_status: entry.http_status,
            error_code: entry.error_code,
            revision: entry.revision.clone(),
            version: entry.version(),
            body: Bytes::clone(&entry.body),
        }))
    }

    fn dataset(&self, dataset: &DatasetName) -> Result<Option<DatasetRecord>, StorageError> {
        wait(self.store.dataset(dataset))
    }

    fn changes_after(&self, _seq: u64, _limit: usize) -> Result<Option<Vec<(u64, Changed)>>, StorageError> {
        Ok(None)
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }
}

mod failover;
mod interop;
mod members;
mod open;
mod reads;

mod contract {
    use super::fresh;

    crate::authority_contract!(super::fresh);
    crate::operations_contract!(super::fresh);
}
