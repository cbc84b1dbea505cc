//! The feed's loop: connect, go on from the bookmark or compare everything, follow, and again after every failure.
//!
//! Owns the order of things: what was received is applied together with where to go on, the position moves only past
//! whole groups of one cluster time, never while a scan is under way, and never to where something later was read already:
//! what the mirror holds at a position is what the database held then. The mirror serves all the while, whatever happens
//! here.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document};
use mongodb::{Client, Database};
use outpost_model::{Epoch, limits};
use tokio::sync::watch;

use super::bookmark::{Bookmark, Scan};
use super::error::FeedError;
use super::fetch::{self, Fetched, Fetcher};
use super::status::{FeedPhase, StatusBoard};
use super::stream::{Batch, Event, Place, Stream, What};
use super::within;
use crate::error::StorageError;
use crate::mirror::Changed;
use crate::mirror_store::{MirrorBatch, MirrorChange, MirrorStore, MirrorWrite, SourceId};
use crate::mongo::connect;

/// The task behind a feed.
pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) database: Database,
    pub(super) mirror: MirrorStore,
    pub(super) board: StatusBoard,
    /// Whether the bookmark leads nowhere.
    starts_over: bool,
    /// Whether documents in quarantine were read again, as a new version may know them.
    has_retried: bool,
    /// Failures in a row.
    failures: u32,
}

/// One connection's way through the history.
pub(super) struct Course {
    pub(super) epoch: Epoch,
    stream: Stream,
    pub(super) fetcher: Fetcher,
    token: Document,
    /// Everything up to here was received.
    reached: u64,
    /// What was received and read holds nothing later than this.
    pub(super) latest: u64,
    pub(super) scan: Option<Scan>,
    /// Records that were mended since the position moved: their followers look again.
    pub(super) touched: Vec<Changed>,
}

impl Worker {
    pub(super) fn new(client: Client, database: Database, mirror: MirrorStore, board: StatusBoard) -> Self {
        Self { client, database, mirror, board, starts_over: false, has_retried: false, failures: 0 }
    }

    /// Runs until `stop` is told.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let error = tokio::select! {
                error = self.follow() => error,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            self.note(&error);
            if matches!(error, FeedError::Mirror(_)) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(super::pause(self.failures)) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.failures = self.failures.saturating_add(1);
        }
    }

    fn note(&mut self, error: &FeedError) {
        let is_lost = matches!(error, FeedError::HistoryLost(_));
        self.starts_over |= is_lost || matches!(error, FeedError::Upheaval);
        match error {
            FeedError::Mirror(_) => tracing::error!(%error, "the change feed ended; restart the node"),
            _ => tracing::warn!(%error, "the change feed was interrupted, the mirror serves what it has"),
        }
        self.board.update(|status| {
            status.phase = match error {
                FeedError::Mirror(_) => FeedPhase::Stopped,
                _ => FeedPhase::Retrying,
            };
            status.reconnects += 1;
            status.history_losses += u64::from(is_lost);
            status.last_error = Some(error.to_string());
        });
    }

    /// Follows until something fails.
    async fn follow(&mut self) -> FeedError {
        match self.try_follow().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn try_follow(&mut self) -> Result<std::convert::Infallible, FeedError> {
        let mut course = self.open().await?;
        if course.scan.is_none() && !self.has_retried {
            self.retry_quarantine(&mut course).await?;
        }
        self.has_retried = true;
        loop {
            self.show_phase(&course);
            let wait_ms = match course.scan.clone() {
                Some(scan) => {
                    self.scan_step(&mut course, scan).await?;
                    limits::FEED_WAIT_MS_MIN
                }
                None => limits::FEED_WAIT_MS,
            };
            let batch = course.stream.next(wait_ms).await?;
            self.take(&mut course, batch).await?;
            self.mend(&mut course).await?;
            self.failures = 0;
        }
    }

    fn show_phase(&self, course: &Course) {
        let phase = if course.scan.is_some() { FeedPhase::Scanning } else { FeedPhase::Following };
        self.board.update(|status| {
            status.phase = phase;
            status.applied = course.reached;
        });
    }

    /// Opens a stream where the bookmark says; without one, from now on, and everything is compared.
    async fn open(&mut self) -> Result<Course, FeedError> {
        let epoch = within(limits::FEED_CALL_MS_MAX, connect::epoch(&self.database)).await?;
        let epoch = epoch.map_err(|error| FeedError::Call(error.to_string()))?;
        let session = || async {
            let start = within(limits::FEED_CALL_MS_MAX, self.client.start_session()).await?;
            start.map_err(|error| FeedError::Call(error.to_string()))
        };
        let fetcher = Fetcher::new(&self.database, session().await?);
        let bookmark = self.mirror.cursor()?.and_then(|bytes| Bookmark::decode(&bytes));
        let bookmark = bookmark.filter(|(bookmark, _)| bookmark.epoch == epoch.0 && !self.starts_over);
        let touched = Vec::new();
        if let Some((Bookmark { reached, scan, .. }, token)) = bookmark {
            let stream = Stream::open(&self.database, session().await?, Some(&token)).await?;
            // When the position was kept back, something later may have been read: by now at the latest.
            let is_behind = scan.is_none() && self.mirror.summary().position.seq < reached;
            let latest = if is_behind { stream.opened_at().unwrap_or(0).max(reached) } else { reached };
            return Ok(Course { epoch, stream, fetcher, token, reached, latest, scan, touched });
        }
        let mut stream = Stream::open(&self.database, session().await?, None).await?;
        let first = stream.next(limits::FEED_WAIT_MS_MIN).await?;
        let (token, reached) = (first.token.clone(), first.complete_to.unwrap_or(0));
        let scan = Some(Scan::Datasets(None));
        let mut course = Course { epoch, stream, fetcher, token, reached, latest: reached, scan, touched };
        self.commit(&mut course, Vec::new(), Vec::new(), true).await?;
        self.starts_over = false;
        self.board.update(|status| status.scans += 1);
        self.take(&mut course, first).await?;
        Ok(course)
    }

    /// Applies a batch of the stream.
    async fn take(&self, course: &mut Course, batch: Batch) -> Result<(), FeedError> {
        self.board.answered(batch.head);
        self.board.update(|status| status.events += batch.events.len() as u64);
        if batch.events.iter().any(|event| event.what == What::Upheaval) {
            return Err(FeedError::Upheaval);
        }
        let news = News::of(batch.events);
        course.latest = course.latest.max(news.latest);
        course.fetcher.see(course.latest);
        let mut changes = news.deletions;
        let mut fetched = Vec::new();
        for (place, mut wanted) in [(Place::Datasets, news.datasets), (Place::Responses, news.responses)] {
            while !wanted.is_empty() {
                if !fetched.is_empty() {
                    let (fetched, changes) = (std::mem::take(&mut fetched), std::mem::take(&mut changes));
                    self.commit(course, fetched, changes, false).await?;
                }
                self.fetch_some(course, place, &mut wanted, &mut fetched, &mut changes).await?;
            }
        }
        let moves = batch.complete_to.is_some_and(|complete| complete > course.reached);
        if moves || !changes.is_empty() || !fetched.is_empty() || course.token != batch.token {
            course.token = batch.token;
            course.reached = course.reached.max(batch.complete_to.unwrap_or(0));
            course.latest = course.latest.max(course.reached);
            if moves && course.scan.is_none() {
                let seq = course.reached;
                let touch = |subject| MirrorChange { seq, write: MirrorWrite::Touch(subject) };
                changes.extend(std::mem::take(&mut course.touched).into_iter().map(touch));
            }
            self.commit(course, fetched, changes, true).await?;
        }
        Ok(())
    }

    /// Reads some of the documents in `wanted`. Those that are gone are deletions.
    async fn fetch_some(
        &self,
        course: &mut Course,
        place: Place,
        wanted: &mut Vec<(Bson, u64)>,
        fetched: &mut Vec<(Fetched, u64)>,
        changes: &mut Vec<MirrorChange>,
    ) -> Result<(), FeedError> {
        let count = wanted.len().min(limits::FEED_FETCH_DOCUMENTS_MAX);
        let mut asked: HashMap<SourceId, (Bson, u64)> =
            wanted.drain(..count).map(|(id, seq)| (fetch::source(place, &id), (id, seq))).collect();
        let ids: Vec<Bson> = asked.values().map(|(id, _)| id.clone()).collect();
        let page = course.fetcher.by_id(place, &ids).await?;
        for document in page.found {
            if let Some((_, seq)) = asked.remove(&fetch::source(place, &document.id)) {
                fetched.push((document, seq));
            }
        }
        if page.is_last {
            for (id, seq) in asked.into_values() {
                fetch::deletion(place, &id, seq, changes);
            }
        } else {
            wanted.extend(asked.into_values());
        }
        Ok(())
    }

    /// Converts and applies, off the async threads. With `moves` the position and the bookmark move too.
    pub(super) async fn commit(
        &self,
        course: &mut Course,
        fetched: Vec<(Fetched, u64)>,
        mut changes: Vec<MirrorChange>,
        moves: bool,
    ) -> Result<(), FeedError> {
        let bytes: u64 = fetched.iter().map(|(document, _)| document.raw.as_bytes().len() as u64).sum();
        let documents = fetched.len() as u64;
        let bookmark = || Bookmark::new(course.epoch, &course.token, course.reached, course.scan.clone());
        let cursor = moves.then(|| bookmark().encode().into());
        course.latest = course.latest.max(course.fetcher.seen());
        let is_whole = course.scan.is_none() && course.reached > 0 && course.reached >= course.latest;
        let reached = (moves && is_whole).then_some(course.reached);
        let (epoch, mirror) = (course.epoch, self.mirror.clone());
        let apply = move || {
            for (document, seq) in &fetched {
                fetch::convert(document, *seq, &mut changes);
            }
            mirror.apply(MirrorBatch { epoch, changes, reached, cursor, left: Vec::new() })
        };
        let panicked = |_| StorageError::Engine("applying a batch panicked".to_owned());
        tokio::task::spawn_blocking(apply).await.map_err(panicked)??;
        self.board.update(|status| {
            status.documents += documents;
            status.bytes += bytes;
        });
        Ok(())
    }
}

/// The changes of a batch, each document once.
struct News {
    /// Documents to read, each with the seq of its last change.
    responses: Vec<(Bson, u64)>,
    datasets: Vec<(Bson, u64)>,
    deletions: Vec<MirrorChange>,
    latest: u64,
}

impl News {
    fn of(events: Vec<Event>) -> Self {
        let mut last: HashMap<SourceId, (usize, Event)> = HashMap::new();
        for (index, event) in events.into_iter().enumerate() {
            if let What::Written(place, id) | What::Deleted(place, id) = &event.what {
                last.insert(fetch::source(*place, id), (index, event));
            }
        }
        let mut last: Vec<(usize, Event)> = last.into_values().collect();
        last.sort_unstable_by_key(|(index, _)| *index);
        let mut news = Self { responses: Vec::new(), datasets: Vec::new(), deletions: Vec::new(), latest: 0 };
        for (_, Event { seq, what }) in last {
            news.latest = news.latest.max(seq);
            match what {
                What::Written(Place::Responses, id) => news.responses.push((id, seq)),
                What::Written(Place::Datasets, id) => news.datasets.push((id, seq)),
                What::Deleted(place, id) => fetch::deletion(place, &id, seq, &mut news.deletions),
                What::Upheaval | What::Other => {}
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_document_is_read_once_for_its_last_change() {
        let id = |number: u8| Bson::ObjectId(mongodb::bson::oid::ObjectId::from_bytes([number; 12]));
        let written = |seq, number| Event { seq, what: What::Written(Place::Responses, id(number)) };
        let deleted = |seq, number| Event { seq, what: What::Deleted(Place::Responses, id(number)) };
        let events =
            vec![written(1, 1), written(2, 2), deleted(3, 3), deleted(4, 2), written(5, 1), written(6, 3)];
        let news = News::of(events);
        assert_eq!(news.responses, [(id(1), 5), (id(3), 6)]);
        assert_eq!(news.deletions.iter().map(|change| change.seq).collect::<Vec<_>>(), [4]);
        assert_eq!(news.latest, 6);
    }
}
