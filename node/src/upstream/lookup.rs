//! Misses at a replica: one question upstream, answered as the primary would.
//!
//! Owns what keeps readers from driving the upstream: one question per subject and demand at a time, few at once, a
//! bounded number that wait, a bounded wait. What is found is answered and not kept: it arrives by the feed. An answer
//! that is not the version that it claims to be is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use outpost_model::{ErrorCode, Position, limits};
use outpost_storage::Mirror;
use outpost_sync::adapter::entry_put;
use outpost_sync::record::{self, EntryRecord};
use outpost_sync::wire::{self, Message};
use outpost_sync::{Answer, Call, CallError, Upstream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::http::error::{ApiError, Caller, Mark};
use crate::http::promises::Demand;
use crate::http::read::{Elsewhere, Missed, Misses, Why};

/// What a question is told apart by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    kind: &'static str,
    dataset: String,
    key: Option<Vec<u8>>,
    after: (u128, u64),
    age_ms_max: Option<u64>,
    has_credentials: bool,
    hops: u8,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Elsewhere>, ApiError>>>;

/// See the module.
pub struct ReplicaMisses {
    inner: Arc<Inner>,
}

struct Inner {
    upstreams: Vec<Arc<dyn Upstream>>,
    mirror: Arc<dyn Mirror>,
    permits: Semaphore,
    flights: Mutex<HashMap<Question, Flight>>,
}

impl ReplicaMisses {
    /// Asks `upstreams` for what `mirror` does not have.
    #[must_use]
    pub fn new(upstreams: Vec<Arc<dyn Upstream>>, mirror: Arc<dyn Mirror>) -> Self {
        let permits = Semaphore::new(limits::LOOKUPS_IN_FLIGHT_MAX);
        Self { inner: Arc::new(Inner { upstreams, mirror, permits, flights: Mutex::default() }) }
    }

    /// The question under way for the same, or a new one; `None` when too many are.
    fn board(&self, question: Question) -> Option<Flight> {
        let mut flights = self.inner.lock();
        if let Some(flight) = flights.get(&question) {
            return Some(flight.clone());
        }
        if flights.len() >= limits::LOOKUPS_WAITING_MAX {
            return None;
        }
        let inner = Arc::clone(&self.inner);
        let asked = question.clone();
        // It ends, and is cleaned up, whether or not anyone still waits for it.
        let landing = tokio::spawn(async move {
            let wait = Duration::from_millis(limits::LOOKUP_TIMEOUT_MS);
            let answer = timeout(wait, inner.ask(&asked)).await.unwrap_or(Err(Unanswered::Lost));
            inner.lock().remove(&asked);
            answer.map(Arc::new).map_err(Unanswered::into_error)
        });
        let flight =
            landing.map(|answer| answer.unwrap_or_else(|_| Err(ApiError::unexpected()))).boxed().shared();
        flights.insert(question, flight.clone());
        Some(flight)
    }
}

/// Why there is no entry to answer with.
enum Unanswered {
    /// The upstream says this.
    Said(Box<ApiError>),
    /// No upstream said anything that could be right.
    Lost,
}

impl Unanswered {
    fn into_error(self) -> ApiError {
        match self {
            Self::Said(error) => *error,
            Self::Lost => ApiError::upstream_not_reached(),
        }
    }
}

impl Inner {
    async fn ask(&self, question: &Question) -> Result<Elsewhere, Unanswered> {
        let _permit = self.permits.acquire().await;
        for upstream in &self.upstreams {
            let asked = Instant::now();
            match call(&**upstream, question).await {
                Ok(found) => return read_found(found, question, asked.elapsed()),
                Err(error) => {
                    tracing::debug!(upstream = upstream.name(), %error, "an upstream could not be asked for a reader");
                }
            }
        }
        Err(Unanswered::Lost)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn call(upstream: &dyn Upstream, question: &Question) -> Result<wire::Found, CallError> {
    let lookup = wire::Lookup {
        kind: question.kind.to_owned(),
        dataset: question.dataset.clone(),
        key: question.key.clone(),
        after: (question.after.1 > 0).then_some(question.after),
        age_ms_max: question.age_ms_max,
        has_credentials: question.has_credentials,
        hops: question.hops + 1,
    };
    let mut answer = Answer::of(upstream, Call::Lookup, lookup.into()).await?;
    match answer.expect().await? {
        Message::Found(found) => Ok(found),
        other => Err(outpost_sync::call::unexpected(&other)),
    }
}

/// The state ages on its way here.
fn read_found(found: wire::Found, question: &Question, way: Duration) -> Result<Elsewhere, Unanswered> {
    let age = found.age_ms.map(|ms| Duration::from_millis(ms).saturating_add(way));
    let mark = Mark { position: record::position(found.position), age };
    match found.answer {
        wire::Answer::Entry(entry) => {
            let is_asked = question.key.as_deref() == Some(&entry.key);
            let entry = EntryRecord::from_wire(entry).map_err(|error| error.to_string());
            let entry = entry.and_then(|entry| {
                entry_put(entry).and_then(|put| put.open()).map_err(|error| error.to_string())
            });
            match entry {
                Ok(entry) if is_asked => Ok(Elsewhere { entry, mark }),
                Ok(_) => Err(Unanswered::Lost),
                Err(error) => {
                    tracing::warn!(
                        error,
                        "the upstream answered a reader's question with what cannot be right"
                    );
                    Err(Unanswered::Lost)
                }
            }
        }
        wire::Answer::Error { error_code, message, retry_after_s, .. } => {
            let code = error_code.as_deref().and_then(ErrorCode::from_name);
            let code = code.unwrap_or(ErrorCode::UnexpectedApiError);
            let message: String = message.chars().take(ERROR_CHARS_MAX).collect();
            let error = ApiError::of_upstream(code, message, retry_after_s.map(u64::from), mark);
            Err(Unanswered::Said(Box::new(error)))
        }
    }
}

/// A sentence of another node is not longer than this.
const ERROR_CHARS_MAX: usize = 2_000;

#[async_trait]
impl Misses for ReplicaMisses {
    async fn on_miss(&self, missed: &Missed<'_>) -> Result<Elsewhere, ApiError> {
        let refusal = || match missed.why {
            Why::Absent => ApiError::upstream_not_reached(),
            Why::Behind => ApiError::state_not_reached(),
        };
        if missed.hops >= limits::SYNC_HOPS_MAX {
            return Err(refusal());
        }
        let question = Question {
            kind: missed.kind.as_str(),
            dataset: missed.dataset.as_str().to_owned(),
            key: missed.key.map(outpost_model::ArtifactKey::to_bytes),
            after: after(&missed.demand, self.inner.mirror.seen()),
            age_ms_max: missed.demand.age_max.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            has_credentials: missed.caller == Caller::WithCredentials,
            hops: missed.hops,
        };
        let Some(flight) = self.board(question) else { return Err(refusal()) };
        match flight.await {
            Ok(found) => Ok(Elsewhere::clone(&found)),
            Err(error) if error.code == ErrorCode::UpstreamNotReached => Err(refusal()),
            Err(error) => Err(error),
        }
    }
}

/// The state that the answer must be at or after: that of the demand, and this mirror's, so that no reader goes back by
/// asking here.
fn after(demand: &Demand, mine: Position) -> (u128, u64) {
    let after = match demand.after {
        Some(after) if mine.covers(&after) != Some(true) => after,
        _ => mine,
    };
    (after.epoch.0, after.seq)
}
