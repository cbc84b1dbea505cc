//! Comparing everything with the database, while serving and following.
//!
//! Owns the bootstrap and the way back after lost history: records of datasets first, since they say who may read, then
//! responses, both in the order of their `_id`s and in bounded pages. What is the same is left alone, what the mirror
//! has beyond is deleted. How far it came is kept with each page, so that a restart goes on from there. Also mends what
//! the mirror found damaged.

use std::collections::HashSet;

use mongodb::bson::Bson;
use mongodb::bson::oid::ObjectId;
use outpost_model::{DatasetName, limits};

use super::bookmark::Scan;
use super::error::FeedError;
use super::fetch::{self, Fetched, Page};
use super::run::{Course, Worker};
use super::stream::Place;
use crate::mirror::Changed;
use crate::mirror_store::{MirrorChange, MirrorWrite, SourceId};

impl Worker {
    /// Compares the next page.
    pub(super) async fn scan_step(&self, course: &mut Course, scan: Scan) -> Result<(), FeedError> {
        let (place, after) = match &scan {
            Scan::Datasets(after) => (Place::Datasets, Bson::String(after.clone().unwrap_or_default())),
            Scan::Responses(after) => {
                (Place::Responses, Bson::ObjectId(ObjectId::from_bytes(after.unwrap_or_default())))
            }
        };
        course.fetcher.see(course.latest);
        let page = course.fetcher.after(place, after.clone()).await?;
        self.delete_unlisted(course, place, &after, &page).await?;
        let last = page.found.last().map(|document| document.id.clone());
        course.scan = match (page.is_last, place, last) {
            (true, Place::Datasets, _) => Some(Scan::Responses(None)),
            (false, Place::Datasets, Some(Bson::String(name))) => Some(Scan::Datasets(Some(name))),
            (false, Place::Responses, Some(Bson::ObjectId(id))) => Some(Scan::Responses(Some(id.bytes()))),
            (true, Place::Responses, _) => None,
            // Beyond the texts and the ids nothing is ours.
            (false, Place::Datasets, _) => Some(Scan::Responses(None)),
            (false, Place::Responses, _) => None,
        };
        let seq = course.latest;
        let fetched = page.found.into_iter().map(|document| (document, seq)).collect();
        if course.scan.is_some() {
            return self.commit(course, fetched, Vec::new(), true).await;
        }
        // The position moves with nothing else: then the log of a mirror that reaches it for the first time begins there.
        // What was deleted before is in no scan, and whoever follows from before must not take the log for whole.
        self.commit(course, fetched, Vec::new(), false).await?;
        self.commit(course, Vec::new(), Vec::new(), true).await
    }

    /// Deletes what the mirror has between `after` and the end of the page that is not on it.
    async fn delete_unlisted(
        &self,
        course: &mut Course,
        place: Place,
        after: &Bson,
        page: &Page,
    ) -> Result<(), FeedError> {
        let listed: HashSet<SourceId> =
            page.found.iter().map(|document| fetch::source(place, &document.id)).collect();
        let end = (!page.is_last)
            .then(|| page.found.last().map(|document| fetch::source(place, &document.id)))
            .flatten();
        let mut at = fetch::source(place, after);
        loop {
            let held = self.held_after(place, &at)?;
            let Some(last) = held.last().cloned() else { return Ok(()) };
            let is_inside = |source: &&SourceId| end.as_ref().is_none_or(|end| *source <= end);
            let gone: Vec<&SourceId> =
                held.iter().filter(is_inside).filter(|source| !listed.contains(*source)).collect();
            if !gone.is_empty() {
                let changes = gone.into_iter().flat_map(|source| unlisted(source, course.latest)).collect();
                self.commit(course, Vec::new(), changes, false).await?;
            }
            if end.as_ref().is_some_and(|end| last >= *end) {
                return Ok(());
            }
            at = last;
        }
    }

    /// What the mirror has of `place` after a source, in order: what it serves and what is in quarantine. At most a
    /// page, and complete up to its last.
    fn held_after(&self, place: Place, at: &[u8]) -> Result<Vec<SourceId>, FeedError> {
        let limit = limits::FEED_SCAN_COMPARED_MAX;
        let prefix = &at[..1];
        let served: Vec<SourceId> = match place {
            Place::Responses => self.mirror.sources_after(Some(at), limit)?,
            Place::Datasets => {
                let name = std::str::from_utf8(&at[1..]).ok().and_then(|name| DatasetName::new(name).ok());
                let names = self.mirror.datasets_after(name.as_ref(), limit)?;
                names
                    .iter()
                    .map(|name| fetch::source(place, &Bson::String(name.as_str().to_owned())))
                    .collect()
            }
        };
        let aside = self.mirror.quarantined(Some(at), limit)?.into_iter().map(|found| found.source);
        let mut held: Vec<SourceId> = served;
        held.extend(aside);
        held.retain(|source| source.starts_with(prefix) && source.as_slice() > at);
        held.sort_unstable();
        held.dedup();
        held.truncate(limit);
        Ok(held)
    }

    /// Fetches again what the mirror found damaged.
    pub(super) async fn mend(&self, course: &mut Course) -> Result<(), FeedError> {
        let damaged = self.mirror.damaged(limits::FEED_MENDED_MAX);
        if damaged.is_empty() {
            return Ok(());
        }
        course.fetcher.see(course.latest);
        let seq = course.latest;
        let (mut fetched, mut changes) = (Vec::new(), Vec::new());
        for subject in &damaged {
            match self.fetch_subject(course, subject).await? {
                Some(document) => fetched.push((document, seq)),
                None => changes.push(MirrorChange { seq, write: deletion_of(subject) }),
            }
        }
        let count = damaged.len() as u64;
        self.commit(course, fetched, changes, false).await?;
        course.touched.extend(damaged);
        self.board.update(|status| status.mended += count);
        tracing::info!(count, "fetched damaged records of the mirror again");
        Ok(())
    }

    async fn fetch_subject(
        &self,
        course: &mut Course,
        subject: &Changed,
    ) -> Result<Option<Fetched>, FeedError> {
        match subject {
            Changed::Entry(key) => course.fetcher.by_key(key).await,
            Changed::Dataset(name) => {
                let id = Bson::String(name.as_str().to_owned());
                let page = course.fetcher.by_id(Place::Datasets, &[id]).await?;
                Ok(page.found.into_iter().next())
            }
        }
    }

    /// Reads documents in quarantine again: another version of this code may know what to do with them.
    pub(super) async fn retry_quarantine(&self, course: &mut Course) -> Result<(), FeedError> {
        let mut after: Option<SourceId> = None;
        course.fetcher.see(course.latest);
        let seq = course.latest;
        loop {
            let page = self.mirror.quarantined(after.as_deref(), limits::FEED_MENDED_MAX)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.source.clone());
            let mut fetched = Vec::new();
            for found in &page {
                let (place, id) = match (fetch::id_of_source(&found.source), found.source.strip_prefix(b"d"))
                {
                    (Some(id), _) => (Place::Responses, Bson::ObjectId(id)),
                    (None, Some(name)) => {
                        (Place::Datasets, Bson::String(String::from_utf8_lossy(name).into_owned()))
                    }
                    (None, None) => continue,
                };
                let page = course.fetcher.by_id(place, &[id]).await?;
                fetched.extend(page.found.into_iter().map(|document| (document, seq)));
            }
            self.commit(course, fetched, Vec::new(), false).await?;
        }
    }
}

fn unlisted(source: &SourceId, seq: u64) -> Vec<MirrorChange> {
    let mut changes = vec![MirrorChange { seq, write: MirrorWrite::DeleteSource(source.clone()) }];
    if let Some(name) = source.strip_prefix(b"d").and_then(|name| std::str::from_utf8(name).ok())
        && let Ok(name) = DatasetName::new(name)
    {
        changes.push(MirrorChange { seq, write: MirrorWrite::DeleteDataset(name) });
    }
    changes
}

fn deletion_of(subject: &Changed) -> MirrorWrite {
    match subject {
        Changed::Entry(key) => MirrorWrite::DeleteEntry(key.clone()),
        Changed::Dataset(name) => MirrorWrite::DeleteDataset(name.clone()),
    }
}
