//! Assets go when their entries go, whoever looked away meanwhile.

use std::sync::Arc;

use outpost_model::planning::Event;
use outpost_model::{AssetSplit, StepKind, TimestampMs, limits};

use super::super::{AssetStore, follow, sweep};
use super::{Backend, LATER, path_in, rows};
use crate::authority::Authority;
use crate::contract::{Calls, T0, dataset, usual_result};
use crate::embedded::EmbeddedStore;

macro_rules! on_every_backend {
    ($($backend:ident: $($name:ident),+;)+) => {
        $(mod $backend {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(backend) = super::super::Backend::$backend() {
                    super::$name(backend).await;
                }
            })+
        })+
    };
}

on_every_backend! {
    folder: a_new_revision_takes_the_place_of_the_old_one, a_removed_dataset_takes_its_assets_with_it, a_follower_that_was_away_looks_at_everything, what_a_job_is_writing_is_left_alone, a_sweep_deletes_what_no_entry_came_for;
    shared_folder: a_new_revision_takes_the_place_of_the_old_one, a_removed_dataset_takes_its_assets_with_it, a_follower_that_was_away_looks_at_everything, what_a_job_is_writing_is_left_alone, a_sweep_deletes_what_no_entry_came_for;
    bucket: a_new_revision_takes_the_place_of_the_old_one, a_removed_dataset_takes_its_assets_with_it, a_follower_that_was_away_looks_at_everything, what_a_job_is_writing_is_left_alone, a_sweep_deletes_what_no_entry_came_for;
}

/// An authority and the assets of what it holds.
struct Node {
    authority: EmbeddedStore,
    assets: Arc<dyn AssetStore>,
    _directory: tempfile::TempDir,
    _backend: Backend,
}

impl Node {
    fn start(backend: Backend) -> Self {
        let assets = backend.open();
        let directory = tempfile::tempdir().unwrap();
        let authority = EmbeddedStore::open(directory.path()).unwrap();
        Self { authority, assets, _directory: directory, _backend: backend }
    }

    fn follow(&self) -> u64 {
        follow(&*self.assets, &self.authority, LATER).unwrap()
    }

    /// Computes everything that is queued; first rows put an asset.
    async fn work(&self) -> Vec<AssetSplit> {
        let authority: Arc<dyn Authority> = Arc::new(self.authority.clone());
        let mut written = Vec::new();
        while let Some(claim) = authority.claim_at(T0).await {
            let key = &claim.job.key;
            if let (StepKind::SplitFirstRows, Some(config), Some(split)) =
                (key.kind(), key.config(), key.split())
            {
                let (config, split) = (config.clone(), split.clone());
                let rows = AssetSplit {
                    dataset: key.dataset().clone(),
                    config,
                    split,
                    revision: claim.job.revision.clone(),
                };
                self.assets.put(&path_in(rows.clone(), 0), "image/png", b"x").unwrap();
                written.push(rows);
            }
            authority.store_at(&claim, usual_result(&claim), T0).await.unwrap();
        }
        written.sort();
        written
    }

    async fn publish(&self, revision: &str) {
        let authority: Arc<dyn Authority> = Arc::new(self.authority.clone());
        authority.publish("u/d", revision).await;
    }

    fn held(&self) -> Vec<AssetSplit> {
        self.assets.rows(None, None, 100).unwrap()
    }
}

async fn a_new_revision_takes_the_place_of_the_old_one(backend: Backend) {
    let node = Node::start(backend);
    node.publish("r1").await;
    let first = node.work().await;
    assert!(!first.is_empty());
    assert_eq!(node.follow(), 0);
    node.publish("r2").await;
    // The old entries are gone at once.
    let second = node.work().await;
    assert_eq!(node.follow(), first.len() as u64);
    assert_eq!(node.held(), second);
    assert_eq!(node.follow(), 0);
}

async fn a_removed_dataset_takes_its_assets_with_it(backend: Backend) {
    let node = Node::start(backend);
    node.publish("r1").await;
    let written = node.work().await;
    let other = path_in(rows("u/other", "train", "r1"), 0);
    node.follow();
    node.assets.put(&other, "image/png", b"x").unwrap();
    node.authority.submit(&dataset("u/d"), &Event::Removed, T0).await.unwrap();
    assert_eq!(node.follow(), written.len() as u64);
    assert_eq!(node.held(), [other.rows().clone()]);
}

async fn a_follower_that_was_away_looks_at_everything(backend: Backend) {
    let node = Node::start(backend);
    node.publish("r1").await;
    let first = node.work().await;
    node.publish("r2").await;
    let second = node.work().await;
    node.assets.put(&path_in(rows("u/gone", "train", "r1"), 0), "image/png", b"x").unwrap();
    assert_eq!(node.follow(), first.len() as u64 + 1);
    assert_eq!(node.held(), second);
}

async fn what_a_job_is_writing_is_left_alone(backend: Backend) {
    let node = Node::start(backend);
    let before = super::super::folder::now();
    node.publish("r1").await;
    let in_flight = path_in(rows("u/d", "train", "r1"), 0);
    node.assets.put(&in_flight, "image/png", b"x").unwrap();
    assert_eq!(node.follow(), 0);
    // Another revision's job that started after the look began.
    node.assets.put(&path_in(rows("u/d", "train", "r2"), 0), "image/png", b"x").unwrap();
    node.assets.set_followed(outpost_model::Position { epoch: outpost_model::Epoch(7), seq: 0 }).unwrap();
    assert_eq!(follow(&*node.assets, &node.authority, before).unwrap(), 0);
    assert_eq!(node.held().len(), 2);
}

async fn a_sweep_deletes_what_no_entry_came_for(backend: Backend) {
    let node = Node::start(backend);
    node.publish("r1").await;
    let written = node.work().await;
    node.follow();
    let orphan = path_in(rows("u/d", "never", "r1"), 0);
    node.assets.put(&orphan, "image/png", b"x").unwrap();
    let now = super::super::folder::now();
    assert_eq!(sweep(&*node.assets, &node.authority, now).unwrap(), 0);
    let later = TimestampMs(now.0 + limits::ASSET_ORPHAN_AGE_MS_MIN + 60_000);
    assert_eq!(sweep(&*node.assets, &node.authority, later).unwrap(), 1);
    assert_eq!(node.held(), written);
}
