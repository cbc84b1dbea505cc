//! Cache misses at a primary: http-api.md section 2.
//!
//! Owns what keeps readers from driving the node against the Hub: one lookup per dataset at a time, few at once, a
//! bounded number of waiters, and a short bounded memory of refusals. A reader that waits too long is told so while
//! the lookup goes on.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use outpost_hub::HubError;
use outpost_model::{DatasetName, ErrorCode, Position, StepKind, limits};
use tokio::sync::Semaphore;

use crate::http::error::{ApiError, Caller};
use crate::http::read::Misses;
use crate::intake::{Cause, Intake, IntakeError, Outcome};

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

#[derive(Default)]
struct Lookups {
    flights: HashMap<DatasetName, Flight>,
    refusals: HashMap<DatasetName, (Answer, Instant)>,
    /// Refused datasets, oldest first.
    refused: VecDeque<DatasetName>,
}

impl Lookups {
    fn refusal(&self, dataset: &DatasetName) -> Option<Answer> {
        let (answer, since) = self.refusals.get(dataset)?;
        (since.elapsed() < Duration::from_millis(limits::REFUSAL_AGE_MS_MAX)).then_some(*answer)
    }

    fn land(&mut self, dataset: &DatasetName, answer: Answer) {
        self.flights.remove(dataset);
        if !answer.is_refusal() {
            return;
        }
        if self.refusals.insert(dataset.clone(), (answer, Instant::now())).is_none() {
            self.refused.push_back(dataset.clone());
        }
        if self.refused.len() > limits::REFUSALS_MAX
            && let Some(oldest) = self.refused.pop_front()
        {
            self.refusals.remove(&oldest);
        }
    }
}

/// Misses answered from the authority and the Hub.
pub struct PrimaryMisses {
    intake: Arc<Intake>,
    lookups: Arc<Mutex<Lookups>>,
    permits: Arc<Semaphore>,
    wait: Duration,
}

impl PrimaryMisses {
    /// Readers wait at most `wait` for the Hub.
    #[must_use]
    pub fn new(intake: Arc<Intake>, wait: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(limits::HUB_LOOKUPS_IN_FLIGHT_MAX));
        Self { intake, lookups: Arc::default(), permits, wait }
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
        if let Some(refusal) = lookups.refusal(dataset) {
            return Some(Err(refusal));
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

#[async_trait]
impl Misses for PrimaryMisses {
    async fn on_miss(&self, dataset: &DatasetName, kind: StepKind, caller: Caller) -> ApiError {
        let state = match self.intake.authority().state(dataset).await {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(dataset = %dataset, %error, "failed to read the state of dataset {dataset}");
                return ApiError::unexpected();
            }
        };
        if state.jobs.iter().any(|job| job.key.kind().is_self_or_ancestor_of(kind)) {
            ApiError::not_ready()
        } else if !state.entries.is_empty() {
            ApiError::not_found()
        } else {
            self.look_up(dataset).await.into_error(caller)
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
