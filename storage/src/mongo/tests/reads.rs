//! What a run reads, while a majority does not have it yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::Database;
use mongodb::bson::doc;

use super::super::{MongoConfig, MongoStore};
use crate::authority::Authority;
use crate::contract::{Calls, T0, root, success};
use crate::testing::mongod::{self, Kind};

const PATIENCE: Duration = Duration::from_secs(60);

/// Whether what the only member writes becomes what a majority has.
async fn majority(admin: &Database, follows: bool) {
    let mode = if follows { "off" } else { "alwaysOn" };
    admin.run_command(doc! {"configureFailPoint": "disableSnapshotting", "mode": mode}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_sees_the_result_that_led_to_its_job() {
    let Some(server) = mongod::own(Kind::ReplicaSet).await else { return };
    let store = MongoStore::open(&MongoConfig::new(server.url())).await.unwrap();
    let authority: Arc<dyn Authority> = Arc::new(store);
    authority.publish("u/d", "r1").await;
    let parent = authority.claim_now().await;
    let admin = server.client().await.database("admin");
    majority(&admin, false).await;
    authority.store(&parent, success(&parent, &["default"], "")).await;
    let deadline = Instant::now() + PATIENCE;
    let child = loop {
        if let Some(child) = authority.claim_at(T0).await {
            break child;
        }
        assert!(Instant::now() < deadline, "no child was created");
        tokio::task::yield_now().await;
    };
    let seen = authority.entry(&root("u/d")).await.unwrap();
    majority(&admin, true).await;
    assert!(seen.is_some(), "{} does not see its parent", child.job.key);
}
