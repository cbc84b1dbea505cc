//! Cache misses at a primary: http-api.md section 2.
//!
//! Owns what keeps readers from driving the node against the Hub or against its own store: one lookup per dataset at a
//! time, few at once, a bounded number of waiters, and short bounded memories of refusals and verdicts. A reader that
//! waits too long is told so while the lookup goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use outpost_hub::HubError;
use outpost_model::{ArtifactKey, DatasetName, ErrorCode, Position, Revision, StepKind, Visibility, limits};
use outpost_storage::StorageError;
use tokio::sync::Semaphore;

use crate::http::error::{ApiError, Caller};
use crate::http::read::{Elsewhere, Missed, Misses, Why};
use crate::intake::{Cause, Intake, IntakeError, Outcome};
use crate::recent::Recent;

/// What a lookup found, for everyone who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Queued(Position),
    NotAccessible,
    Renamed,
    NotSupported(ErrorCode),
    /// The Hub could not be reached in time.
    Unreachable,
    /// The Hub or the store failed in another way.
    Failed,
}

impl Answer {
    fn is_refusal(self) -> bool {
        matches!(self, Self::NotAccessible | Self::Renamed | Self::NotSupported(_))
    }

    fn into_error(self, caller: Caller) -> ApiError {
        match self {
            Self::Queued(position) => ApiError::not_ready().at(position),
            Self::NotAccessible => ApiError::not_accessible(caller),
            Self::Renamed => ApiError::renamed(),
            Self::NotSupported(code) => ApiError::not_supported(code),
            Self::Unreachable => ApiError::hub_check_failed(),
            Self::Failed => ApiError::unexpected(),
        }
    }
}

type Flight = Shared<BoxFuture<'static, Answer>>;

struct Lookups {
    flights: HashMap<DatasetName, Flight>,
    refusals: Recent<DatasetName, Answer>,
}

impl Lookups {
    fn land(&mut self, dataset: &DatasetName, answer: Answer) {
        self.flights.remove(dataset);
        if answer.is_refusal() {
            self.refusals.remember(dataset.clone(), answer);
        }
    }
}

/// What the state of a dataset says about a missing artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Work that leads to it is queued.
    Coming,
    /// The dataset has been computed and this is no part of what the mirror has.
    Absent,
    /// The dataset is not public; the mirror has still to learn it.
    Withheld,
    /// Nothing is known.
    Unknown,
}

/// Verdicts of a moment ago, each with the revision that it was found at.
type Verdicts = Recent<(DatasetName, StepKind), (Verdict, Option<Revision>)>;

/// Misses answered from the authority and the Hub.
pub struct PrimaryMisses {
    intake: Arc<Intake>,
    lookups: Arc<Mutex<Lookups>>,
    permits: Arc<Semaphore>,
    verdicts: Mutex<Verdicts>,
    /// Reading the state of a dataset keeps the store's writer busy: few readers at once may.
    state_permits: Semaphore,
    wait: Duration,
}

impl PrimaryMisses {
    /// Readers wait at most `wait` for the Hub.
    #[must_use]
    pub fn new(intake: Arc<Intake>, wait: Duration) -> Self {
        let refusals = Recent::new(Duration::from_millis(limits::REFUSAL_AGE_MS_MAX), limits::REFUSALS_MAX);
        let verdicts = Recent::new(Duration::from_millis(limits::VERDICT_AGE_MS_MAX), limits::REFUSALS_MAX);
        Self {
            intake,
            lookups: Arc::new(Mutex::new(Lookups { flights: HashMap::new(), refusals })),
            permits: Arc::new(Semaphore::new(limits::HUB_LOOKUPS_IN_FLIGHT_MAX)),
            verdicts: Mutex::new(verdicts),
            state_permits: Semaphore::new(limits::STATE_READS_IN_FLIGHT_MAX),
            wait,
        }
    }

    async fn look_up(&self, dataset: &DatasetName) -> Answer {
        let Some(flight) = self.board(dataset) else { return Answer::Unreachable };
        match flight {
            Ok(flight) => tokio::time::timeout(self.wait, flight).await.unwrap_or(Answer::Unreachable),
            Err(refusal) => refusal,
        }
    }

    /// The lookup under way for the dataset, a new one, or a remembered refusal; `None` when too many wait already.
    fn board(&self, dataset: &DatasetName) -> Option<Result<Flight, Answer>> {
        let mut lookups = lock(&self.lookups);
        if let Some(refusal) = lookups.refusals.get(dataset) {
            return Some(Err(*refusal));
        }
        if let Some(flight) = lookups.flights.get(dataset) {
            return Some(Ok(flight.clone()));
        }
        if lookups.flights.len() >= limits::HUB_LOOKUPS_WAITING_MAX {
            return None;
        }
        let flight = self.take_off(dataset.clone());
        lookups.flights.insert(dataset.clone(), flight.clone());
        Some(Ok(flight))
    }

    /// Starts a lookup that ends, and is cleaned up, whether or not anyone still waits for it.
    fn take_off(&self, dataset: DatasetName) -> Flight {
        let (intake, permits) = (Arc::clone(&self.intake), Arc::clone(&self.permits));
        let lookup = tokio::spawn({
            let dataset = dataset.clone();
            async move {
                let _permit = permits.acquire_owned().await;
                ask(&intake, &dataset).await
            }
        });
        let lookups = Arc::clone(&self.lookups);
        let landing = tokio::spawn(async move {
            let answer = lookup.await.unwrap_or(Answer::Failed);
            lock(&lookups).land(&dataset, answer);
            answer
        });
        landing.map(|answer| answer.unwrap_or(Answer::Failed)).boxed().shared()
    }
}

async fn ask(intake: &Intake, dataset: &DatasetName) -> Answer {
    match intake.refresh(dataset, Cause::Reader).await {
        Ok((outcome, submitted)) => match outcome {
            Outcome::Served => Answer::Queued(submitted.position),
            Outcome::Withheld | Outcome::NotFound => Answer::NotAccessible,
            Outcome::Renamed => Answer::Renamed,
            Outcome::Refused(code) => Answer::NotSupported(code),
        },
        Err(IntakeError::Hub(HubError::Unreachable(cause))) => {
            tracing::warn!(dataset = %dataset, %cause, "failed to reach the Hub about dataset {dataset}");
            Answer::Unreachable
        }
        Err(error) => {
            tracing::error!(dataset = %dataset, %error, "failed to look up dataset {dataset}");
            Answer::Failed
        }
    }
}

impl PrimaryMisses {
    /// Rules 1 and 2 of the section. A verdict is as good as the revision that it was found at, for a moment.
    async fn verdict(&self, dataset: &DatasetName, kind: StepKind) -> Result<Verdict, StorageError> {
        let authority = self.intake.authority();
        let record = authority.dataset(dataset).await?;
        if record.as_ref().is_some_and(|record| record.visibility != Visibility::Public) {
            return Ok(Verdict::Withheld);
        }
        let revision = record.map(|record| record.revision);
        let key = (dataset.clone(), kind);
        if let Some(known) = self.recent_verdict(&key, revision.as_ref()) {
            return Ok(known);
        }
        let _permit = self.state_permits.acquire().await;
        if let Some(known) = self.recent_verdict(&key, revision.as_ref()) {
            return Ok(known);
        }
        let state = authority.state(dataset).await?;
        let verdict = if state.jobs.iter().any(|job| job.key.kind().is_self_or_ancestor_of(kind)) {
            Verdict::Coming
        } else if !state.entries.is_empty() {
            Verdict::Absent
        } else {
            Verdict::Unknown
        };
        // What is unknown is about to be looked up.
        if verdict != Verdict::Unknown {
            lock(&self.verdicts).remember(key, (verdict, state.revision));
        }
        Ok(verdict)
    }

    /// A mirror that others fill may have still to get what is stored.
    async fn look_behind_the_mirror(&self, key: Option<&ArtifactKey>) -> Result<Verdict, StorageError> {
        let Some(key) = key else { return Ok(Verdict::Absent) };
        let stored = self.intake.authority().entry(key).await?;
        Ok(if stored.is_some() { Verdict::Coming } else { Verdict::Absent })
    }

    fn recent_verdict(&self, key: &(DatasetName, StepKind), revision: Option<&Revision>) -> Option<Verdict> {
        let verdicts = lock(&self.verdicts);
        let (verdict, found_at) = verdicts.get(key)?;
        (found_at.as_ref() == revision).then_some(*verdict)
    }
}

#[async_trait]
impl Misses for PrimaryMisses {
    async fn on_miss(&self, missed: &Missed<'_>) -> Result<Elsewhere, ApiError> {
        let (dataset, caller) = (missed.dataset, missed.caller);
        if missed.why == Why::Behind {
            // There is no node that stands before this one.
            return Err(ApiError::state_not_reached());
        }
        let verdict = match self.verdict(dataset, missed.kind).await {
            Ok(Verdict::Absent) => self.look_behind_the_mirror(missed.key).await,
            other => other,
        };
        Err(match verdict {
            Ok(Verdict::Coming) => ApiError::not_ready(),
            Ok(Verdict::Absent) => ApiError::not_found(),
            Ok(Verdict::Withheld) => ApiError::not_accessible(caller),
            Ok(Verdict::Unknown) => self.look_up(dataset).await.into_error(caller),
            Err(error) => {
                tracing::error!(dataset = %dataset, %error, "failed to read the state of dataset {dataset}");
                ApiError::unexpected()
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
