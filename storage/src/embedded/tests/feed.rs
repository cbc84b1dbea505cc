//! The embedded store under the contract of what other nodes follow, its index and its lineage.

use std::sync::Arc;

use async_trait::async_trait;
use outpost_model::{ArtifactKey, DatasetName, DatasetRecord, Entry, Epoch, Item, TimestampMs};

use super::super::core::Change;
use super::super::entries::PreparedEntry;
use super::super::records::{FORMAT_VERSION_BEFORE, MetaBefore};
use super::super::{EmbeddedStore, keys};
use super::Embedded;
use crate::authority::Authority;
use crate::contract::feed::FeedSubject;
use crate::contract::{Calls, T0};
use crate::feed_source::{FeedHead, FeedSource};
use crate::items::{INDEX, index_key};
use crate::kv::{self, Batch};
use crate::record;

impl Embedded {
    async fn commit(&self, change: Change) {
        self.store().write(move |core| core.commit(vec![change])).await.unwrap();
    }
}

#[async_trait]
impl FeedSubject for Embedded {
    fn source(&self) -> Arc<dyn FeedSource> {
        Arc::new(self.store())
    }

    async fn put(&self, entry: Entry) {
        let prepared = PreparedEntry::new(entry).unwrap();
        self.store().read(move |core| core.commit(vec![Change::PutEntry(Box::new(prepared))])).await.unwrap();
    }

    async fn delete(&self, key: &ArtifactKey) {
        self.commit(Change::DeleteEntry(key.clone())).await;
    }

    async fn put_dataset(&self, record: DatasetRecord) {
        self.commit(Change::PutDataset(record)).await;
    }

    async fn delete_dataset(&self, dataset: &DatasetName) {
        self.commit(Change::DropDataset(dataset.clone())).await;
    }

    async fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(EmbeddedStore::open(self.directory.path()).unwrap());
    }
}

mod contract {
    use super::Embedded;

    async fn subject() -> Option<Embedded> {
        Some(super::super::fresh().await)
    }

    crate::feed_contract!(super::subject);
}

/// A store with one computed dataset.
async fn computed() -> (tempfile::TempDir, FeedHead) {
    let directory = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(directory.path()).unwrap();
    let authority: Arc<dyn Authority> = Arc::new(store.clone());
    authority.publish("u/d", "r1").await;
    authority.drain().await;
    let head = store.head();
    assert_eq!(head.records, 8);
    (directory, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_version_before_gets_its_index_once() {
    let (directory, head) = computed().await;
    let (kv, _) = kv::open(directory.path(), 1_000, 1 << 20).unwrap();
    let meta: super::super::records::Meta =
        record::decode(&kv.state.get(keys::META).unwrap().unwrap()).unwrap();
    let before = MetaBefore {
        epoch: meta.epoch,
        seq: meta.seq,
        log_first: meta.log_first,
        next_job: meta.next_job,
        tokens_reserved: meta.tokens_reserved,
        next_blob: meta.next_blob,
        datasets: meta.datasets,
        entries: meta.entries,
    };
    let mut older = Batch::new();
    for pair in kv.state.prefix(&[INDEX]) {
        older.delete(pair.unwrap().0.to_vec());
    }
    older.put(keys::FORMAT.to_vec(), FORMAT_VERSION_BEFORE.to_be_bytes().to_vec());
    older.put(keys::META.to_vec(), record::encode(&before));
    kv.state.apply(older).unwrap();
    kv.flush().unwrap();
    drop(kv);
    for _ in 0..2 {
        let store = EmbeddedStore::open(directory.path()).unwrap();
        assert!(!store.open_report().history_lost && store.open_report().set_aside.is_none());
        assert_eq!(store.head(), head);
        assert!(!store.scrub(T0).await.unwrap().index_rewritten);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_makes_a_wrong_index_anew() {
    let (directory, head) = computed().await;
    let store = EmbeddedStore::open(directory.path()).unwrap();
    assert_eq!(store.items().unwrap().len(), 8);
    let stray = Item { updated_at: TimestampMs(1), key_hash: [1; 16], version_hash: [1; 16] };
    let first = store.inner.kv.state.prefix(&[INDEX]).next().unwrap().unwrap().0.to_vec();
    let mut wrong = Batch::new();
    wrong.put(index_key(&stray), Vec::new());
    wrong.delete(first);
    store.inner.kv.state.apply(wrong).unwrap();
    assert!(store.scrub(T0).await.unwrap().index_rewritten);
    assert!(!store.scrub(T0).await.unwrap().index_rewritten);
    assert_eq!(store.head(), head);
    assert_eq!(store.items().unwrap().len(), 8);
    assert!(!store.items().unwrap().contains(&stray));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_store_knows_the_histories_that_it_has_left() {
    let (directory, head) = computed().await;
    let first = head.position.epoch;
    assert_eq!(head.left, []);
    // The witness is lost, so what survives goes on in a new history.
    std::fs::remove_file(directory.path().join("witness")).unwrap();
    let second = EmbeddedStore::open(directory.path()).unwrap().head();
    assert_eq!(second.left, [first]);
    // The engine's files are set aside, so that an empty store takes their place.
    std::fs::write(directory.path().join("condemned"), "").unwrap();
    let third = EmbeddedStore::open(directory.path()).unwrap().head();
    assert_eq!((third.records, &third.left), (0, &vec![first, second.position.epoch]));
    assert_eq!(EmbeddedStore::open(directory.path()).unwrap().head(), third);
    // The list itself is damaged: the witness still knows the last one.
    std::fs::write(directory.path().join("lineage"), "garbage").unwrap();
    std::fs::write(directory.path().join("condemned"), "").unwrap();
    let fourth = EmbeddedStore::open(directory.path()).unwrap().head();
    assert_eq!(fourth.left, [third.position.epoch]);
    let known: Vec<Epoch> = [first, second.position.epoch, third.position.epoch].into();
    assert!(!known.contains(&fourth.position.epoch));
}
