//! The change stream, by its own commands: keys only, one token per batch.
//!
//! Owns opening, asking for the next batch, and what the server's refusals mean. The driver's own stream is not used:
//! it hides where a batch ends, opens again by itself without a pause, and loses an event that cannot be decoded. Events
//! carry neither documents nor updates, so that no size of a document ends the stream.

use std::time::Duration;

use mongodb::bson::{Bson, Document, Timestamp, doc};
use mongodb::error::Error;
use mongodb::{ClientSession, Database};
use outpost_model::limits;

use super::bookmark::token_time;
use super::error::FeedError;
use super::within;
use crate::mongo::documents::response;
use crate::mongo::errors::code;
use crate::mongo::names;

/// Codes by which a server says that a token leads nowhere.
const HISTORY_LOST: [i32; 7] = [286, 280, 260, 40_585, 40_647, 40_649, 50_811];

/// An open stream.
pub(super) struct Stream {
    database: Database,
    session: ClientSession,
    cursor: i64,
    /// The token of the last batch.
    token: Document,
    first: Option<Batch>,
}

/// What one call brought.
pub(super) struct Batch {
    pub(super) events: Vec<Event>,
    /// Where to go on after this batch.
    pub(super) token: Document,
    /// Everything up to here was in this or an earlier batch.
    pub(super) complete_to: Option<u64>,
    /// The server's time.
    pub(super) head: Option<u64>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Its cluster time.
    pub(super) seq: u64,
    /// What happened to what.
    pub(super) what: What,
}

/// See [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A document was written.
    Written(Place, Bson),
    /// A document was deleted.
    Deleted(Place, Bson),
    /// A collection or the database was dropped or renamed, or the epoch changed: look at everything again.
    Upheaval,
    /// Nothing that concerns the mirror.
    Other,
}

/// A collection that the mirror follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Place {
    /// `cachedResponsesBlue`.
    Responses,
    /// `outpostDatasets`.
    Datasets,
}

impl Stream {
    /// Opens a stream after `token`, or from now on.
    pub(super) async fn open(
        database: &Database,
        mut session: ClientSession,
        token: Option<&Document>,
    ) -> Result<Self, FeedError> {
        let mut stage = doc! {};
        if let Some(token) = token {
            // Unlike `resumeAfter` it also goes on after a collection or the database was dropped.
            stage.insert("startAfter", token);
        }
        let followed = [response::COLLECTION, names::DATASETS, names::META];
        let command = doc! {
            "aggregate": 1,
            "pipeline": [
                {"$changeStream": stage},
                {"$match": {"$or": [
                    {"ns.coll": {"$in": followed}},
                    {"to.coll": {"$in": followed}},
                    {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
                ]}},
                {"$project": {"operationType": 1, "clusterTime": 1, "ns.coll": 1, "documentKey._id": 1}},
            ],
            "cursor": {"batchSize": limits::FEED_EVENTS_PER_BATCH_MAX},
            "readConcern": {"level": "majority"},
        };
        let reply =
            within(limits::FEED_CALL_MS_MAX, database.run_command(command).session(&mut session)).await;
        let reply = reply?.map_err(|error| refusal(&error, token.is_some()))?;
        let (cursor, mut first) = read_reply(&reply, "firstBatch", token)?;
        if token.is_none() {
            // The first token is one tick ahead of the server's clock: the next write may have its very time.
            first.complete_to = first.complete_to.map(|seq| seq.saturating_sub(1));
        }
        Ok(Self {
            database: database.clone(),
            session,
            cursor,
            token: first.token.clone(),
            first: Some(first),
        })
    }

    /// The server's time when it was opened, until the first batch is taken.
    pub(super) fn opened_at(&self) -> Option<u64> {
        self.first.as_ref().and_then(|first| first.head)
    }

    /// The next batch, waiting up to `wait_ms` for a change; empty when there was none.
    pub(super) async fn next(&mut self, wait_ms: u64) -> Result<Batch, FeedError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        if self.cursor == 0 {
            return Err(FeedError::Ended);
        }
        let command = doc! {
            "getMore": self.cursor,
            "collection": "$cmd.aggregate",
            "batchSize": limits::FEED_EVENTS_PER_BATCH_MAX,
            "maxTimeMS": i64::try_from(wait_ms).unwrap_or(i64::MAX),
        };
        let patience = Duration::from_millis(limits::FEED_CALL_MS_MAX + wait_ms).as_millis();
        let call = self.database.run_command(command).session(&mut self.session);
        let reply = within(u64::try_from(patience).unwrap_or(u64::MAX), call).await?;
        let reply = reply.map_err(|error| refusal(&error, true))?;
        let (cursor, batch) = read_reply(&reply, "nextBatch", Some(&self.token))?;
        self.cursor = cursor;
        self.token.clone_from(&batch.token);
        Ok(batch)
    }
}

fn refusal(error: &Error, has_token: bool) -> FeedError {
    match code(error) {
        Some(code) if has_token && HISTORY_LOST.contains(&code) => FeedError::HistoryLost(error.to_string()),
        _ => FeedError::Call(error.to_string()),
    }
}

/// `before` is the token before this batch: one that did not move says nothing new.
fn read_reply(reply: &Document, member: &str, before: Option<&Document>) -> Result<(i64, Batch), FeedError> {
    let broken = |what: &str| FeedError::Call(format!("the server's answer has no {what}"));
    let cursor = reply.get_document("cursor").map_err(|_| broken("cursor"))?;
    let id = match cursor.get("id") {
        Some(Bson::Int64(id)) => *id,
        Some(Bson::Int32(id)) => i64::from(*id),
        _ => return Err(broken("cursor id")),
    };
    let documents = cursor.get_array(member).map_err(|_| broken("batch"))?;
    let token = cursor.get_document("postBatchResumeToken").map_err(|_| broken("token"))?.clone();
    let events: Vec<Event> = documents.iter().filter_map(Bson::as_document).map(read_event).collect();
    let is_full = documents.len() >= limits::FEED_EVENTS_PER_BATCH_MAX as usize;
    let last = events.last().map(|event| event.seq);
    let complete_to = if is_full {
        // What shares the time of the last event may be in the next batch.
        last.map(|seq| seq.saturating_sub(1))
    } else {
        // The server ran out of changes, so it went through all up to the token.
        last.max(token_time(&token).filter(|_| before != Some(&token)))
    };
    let head = reply.get_timestamp("operationTime").ok().map(seq_of);
    Ok((id, Batch { events, token, complete_to, head }))
}

/// Reads an event. One that makes no sense is an upheaval: then everything is compared.
fn read_event(event: &Document) -> Event {
    let seq = event.get_timestamp("clusterTime").map_or(0, seq_of);
    let place = event.get_document("ns").and_then(|ns| ns.get_str("coll")).ok();
    let id = || event.get_document("documentKey").ok().and_then(|key| key.get("_id")).cloned();
    let operation = event.get_str("operationType").unwrap_or_default();
    let is_write = matches!(operation, "insert" | "update" | "replace");
    let place = match place {
        Some(name) if name == response::COLLECTION => Some(Place::Responses),
        Some(name) if name == names::DATASETS => Some(Place::Datasets),
        _ => None,
    };
    let what = match (operation, place, id()) {
        (_, Some(place), Some(id)) if is_write => What::Written(place, id),
        ("delete", Some(place), Some(id)) => What::Deleted(place, id),
        // Indexes and options of a collection say nothing about its documents.
        ("create" | "createIndexes" | "dropIndexes" | "modify" | "shardCollection", ..) => What::Other,
        _ => What::Upheaval,
    };
    Event { seq, what }
}

/// A cluster time as a seq: seconds above, increment below.
pub(super) fn seq_of(time: Timestamp) -> u64 {
    u64::from(time.time) << 32 | u64::from(time.increment)
}

/// The cluster time of a seq.
pub(super) fn time_of(seq: u64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the number")]
    Timestamp { time: (seq >> 32) as u32, increment: seq as u32 }
}
