//! Counts for metrics and `node status`, and the listing of datasets.

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};
use outpost_model::{DatasetName, DatasetRecord, StepKind, limits};

use super::Inner;
use super::documents::{fields, response};
use super::state::{read_record, unrecorded};
use crate::authority::QueueStats;
use crate::error::StorageError;

impl Inner {
    /// See [`crate::Authority::stats`]. Kinds that this version does not compute are left out.
    pub(super) async fn stats(&self) -> Result<QueueStats, StorageError> {
        let mut jobs: BTreeMap<StepKind, (u64, u64)> = BTreeMap::new();
        let by_status =
            vec![doc! {"$group": {"_id": {"kind": "$type", "status": "$status"}, "count": {"$sum": 1}}}];
        for group in self.aggregate(&self.jobs(), by_status).await? {
            let Some((kind, id, count)) = counted(&group) else { continue };
            let (waiting, started) = jobs.entry(kind).or_default();
            let is_started = fields::text(id, "status").ok().flatten() == Some("started");
            *(if is_started { started } else { waiting }) += count;
        }
        let mut entries = Vec::new();
        let by_http_status =
            vec![doc! {"$group": {"_id": {"kind": "$kind", "status": "$http_status"}, "count": {"$sum": 1}}}];
        for group in self.aggregate(&self.responses(), by_http_status).await? {
            let Some((kind, id, count)) = counted(&group) else { continue };
            entries.push((kind, fields::integer(id, "status").ok().flatten().unwrap_or(0), count));
        }
        entries.sort_unstable();
        let recorded = doc! {"revision": {"$type": "string"}};
        let datasets = self.datasets().count_documents(recorded).await?;
        let jobs = jobs.into_iter().map(|(kind, (waiting, started))| (kind, waiting, started)).collect();
        Ok(QueueStats { jobs, entries, datasets })
    }

    /// See [`crate::Authority::datasets`]: those with a record, and those that only dataset-viewer has entries of.
    pub(super) async fn list_datasets(
        &self,
        after: Option<&DatasetName>,
        limit: usize,
    ) -> Result<Vec<DatasetRecord>, StorageError> {
        let after = doc! {"$gt": after.map_or("", DatasetName::as_str)};
        let mut records: BTreeMap<DatasetName, DatasetRecord> = BTreeMap::new();
        let roots = doc! {"kind": StepKind::ROOT.as_str(), "dataset": after.clone()};
        for entry in self.page(&self.responses(), roots, "dataset", limit).await? {
            let name =
                fields::text(&entry, "dataset").ok().flatten().and_then(|name| DatasetName::new(name).ok());
            let (Some(name), Ok(revision)) = (name, response::read_revision(&entry)) else { continue };
            records.insert(name.clone(), unrecorded(&name, revision));
        }
        let recorded = doc! {"_id": after, "revision": {"$type": "string"}};
        for document in self.page(&self.datasets(), recorded, "_id", limit).await? {
            let name =
                fields::text(&document, "_id").ok().flatten().and_then(|name| DatasetName::new(name).ok());
            if let Some(record) = name.and_then(|name| read_record(&name, &document)) {
                records.insert(record.dataset.clone(), record);
            }
        }
        Ok(records.into_values().take(limit).collect())
    }

    async fn page(
        &self,
        collection: &mongodb::Collection<Document>,
        filter: Document,
        sort: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StorageError> {
        // A limit of zero means none to the database.
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let large = doc! {"content": 0, "details": 0};
        let mut cursor = collection.find(filter).sort(doc! {sort: 1}).limit(limit).projection(large).await?;
        let mut page = Vec::new();
        while cursor.advance().await? {
            page.push(cursor.deserialize_current()?);
        }
        Ok(page)
    }

    pub(super) async fn aggregate(
        &self,
        collection: &mongodb::Collection<Document>,
        pipeline: Vec<Document>,
    ) -> Result<Vec<Document>, StorageError> {
        let mut cursor = collection.aggregate(pipeline).batch_size(limits::MONGO_BATCH_DOCUMENTS).await?;
        let mut groups = Vec::new();
        while cursor.advance().await? {
            groups.push(cursor.deserialize_current()?);
        }
        Ok(groups)
    }
}

/// A group's kind, id and count; `None` for a kind that this version does not compute.
fn counted(group: &Document) -> Option<(StepKind, &Document, u64)> {
    let id = group.get_document("_id").ok()?;
    let kind = StepKind::from_name(fields::text(id, "kind").ok()??)?;
    Some((kind, id, fields::integer(group, "count").ok()??))
}
