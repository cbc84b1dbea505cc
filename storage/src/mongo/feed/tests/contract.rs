//! The authority in MongoDB with the mirror that the feed fills, under the contract of mirrors.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use super::*;
use crate::authority::Authority;
use crate::contract::{Reopened, Subject};
use crate::mongo::MongoStore;

/// A store and its mirror, gone with it.
struct Mirrored {
    store: Option<MongoStore>,
    site: Option<Site>,
}

async fn fresh() -> Option<Mirrored> {
    let mut site = Site::new().await?;
    let store = MongoStore::open(&site.config).await.unwrap();
    site.start().await;
    Some(Mirrored { store: Some(store), site: Some(site) })
}

impl Mirrored {
    fn store(&self) -> MongoStore {
        self.store.clone().expect("open between restarts")
    }

    fn site(&self) -> &Site {
        self.site.as_ref().expect("there until the end")
    }
}

impl Drop for Mirrored {
    fn drop(&mut self) {
        self.store = None;
        if let Some(site) = self.site.take() {
            block_in_place(|| Handle::current().block_on(site.end()));
        }
    }
}

#[async_trait]
impl Subject for Mirrored {
    fn authority(&self) -> Arc<dyn Authority> {
        Arc::new(self.store())
    }

    async fn mirror(&self) -> Arc<dyn Mirror> {
        let position = self.store().position().await.unwrap();
        let mirror = self.site().mirror();
        self.site().until("it is caught up", || mirror.position().covers(&position) == Some(true)).await;
        Arc::new(mirror.clone())
    }

    async fn reopen(&mut self) -> Reopened {
        self.store = None;
        let site = self.site.as_mut().expect("there until the end");
        site.reopen().await;
        self.store = Some(MongoStore::open(&site.config).await.unwrap());
        site.start().await;
        Reopened::LeasesKept
    }
}

mod cases {
    use super::fresh;

    crate::mirror_contract!(super::fresh);
}
