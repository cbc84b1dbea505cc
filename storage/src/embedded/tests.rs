//! The embedded store under the contract, and what only it promises.

use std::sync::Arc;

use async_trait::async_trait;

use super::EmbeddedStore;
use crate::authority::Authority;
use crate::contract::{OperatedSubject, Reopened, Subject};
use crate::mirror::Mirror;
use crate::operations::Operations;

mod bodies;
mod crash;
mod damage;
mod feed;
mod restart;

/// A store in a directory of its own.
pub(super) struct Embedded {
    store: Option<EmbeddedStore>,
    directory: tempfile::TempDir,
}

impl Embedded {
    fn store(&self) -> EmbeddedStore {
        self.store.clone().expect("open between restarts")
    }
}

#[async_trait]
impl Subject for Embedded {
    fn authority(&self) -> Arc<dyn Authority> {
        Arc::new(self.store())
    }

    async fn mirror(&self) -> Arc<dyn Mirror> {
        Arc::new(self.store())
    }

    async fn reopen(&mut self) -> Reopened {
        drop(self.store.take());
        self.store = Some(EmbeddedStore::open(self.directory.path()).unwrap());
        Reopened::LeasesEnded
    }
}

impl OperatedSubject for Embedded {
    fn operations(&self) -> Arc<dyn Operations> {
        Arc::new(self.store())
    }
}

async fn fresh() -> Embedded {
    let directory = tempfile::tempdir().unwrap();
    let store = Some(EmbeddedStore::open(directory.path()).unwrap());
    Embedded { store, directory }
}

mod contract {
    use super::Embedded;

    async fn subject() -> Option<Embedded> {
        Some(super::fresh().await)
    }

    crate::authority_contract!(super::subject);
    crate::mirror_contract!(super::subject);
    crate::operations_contract!(super::subject);
}
