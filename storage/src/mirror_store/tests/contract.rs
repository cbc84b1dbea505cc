//! The mirror's store under the contract of what other nodes follow.

use std::sync::Arc;

use async_trait::async_trait;
use outpost_model::DatasetName;

use super::*;
use crate::contract::feed::FeedSubject;
use crate::feed_source::FeedSource;

/// A store in a directory of its own.
struct Mirrored {
    store: Option<MirrorStore>,
    directory: tempfile::TempDir,
}

impl Mirrored {
    fn store(&self) -> MirrorStore {
        self.store.clone().expect("open between restarts")
    }

    fn write(&self, write: MirrorWrite) {
        let store = self.store();
        store.apply(batch(vec![change(store.visible().seq + 1, write)])).unwrap();
    }
}

#[async_trait]
impl FeedSubject for Mirrored {
    fn source(&self) -> Arc<dyn FeedSource> {
        Arc::new(self.store())
    }

    async fn put(&self, entry: Entry) {
        self.write(MirrorWrite::PutEntry(Box::new(EntryPut::new(&entry, None).unwrap())));
    }

    async fn delete(&self, key: &ArtifactKey) {
        self.write(MirrorWrite::DeleteEntry(key.clone()));
    }

    async fn put_dataset(&self, record: DatasetRecord) {
        self.write(MirrorWrite::PutDataset(record));
    }

    async fn delete_dataset(&self, dataset: &DatasetName) {
        self.write(MirrorWrite::DeleteDataset(dataset.clone()));
    }

    async fn reopen(&mut self) {
        drop(self.store.take());
        self.store = Some(open(self.directory.path()));
    }
}

async fn subject() -> Option<Mirrored> {
    let directory = tempfile::tempdir().unwrap();
    Some(Mirrored { store: Some(open(directory.path())), directory })
}

crate::feed_contract!(super::subject);
