//! How news about datasets enters the authority: ask the Hub, judge, submit one event.
//!
//! Owns the order of lookups of one dataset: the answer to an earlier question never overwrites that to a later one.
//! Used by webhooks, cache misses, the folder watcher and maintenance alike. A failed lookup changes nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use outpost_hub::{Hub, HubError};
use outpost_model::planning::Event;
use outpost_model::webhook::WebhookEvent;
use outpost_model::{DatasetName, ErrorCode, Priority, Revision, Visibility};
use outpost_storage::{Authority, StorageError, Submitted};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock;
use crate::support::{BlockList, Verdict, judge};

/// What the Hub's word about a dataset led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Public and supported: what is missing or obsolete is queued.
    Served,
    /// Exists and is not public: nothing of it is kept but that fact.
    Withheld,
    /// Not on the Hub, or not to be seen with the node's token: forgotten.
    NotFound,
    /// Has another name now: forgotten under this one.
    Renamed,
    /// Public and not supported, for the reason that the code names: forgotten.
    Refused(ErrorCode),
}

/// Why news could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The Hub did not answer the question.
    #[error("failed to ask the Hub: {0}")]
    Hub(#[from] HubError),
    /// The store did not take the event.
    #[error("failed to submit the event: {0}")]
    Store(#[from] StorageError),
}

/// On whose behalf the Hub is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A reader asked for something that is not there. Readers can name anything, so a dataset that is not to be
    /// served leaves no trace in the store.
    Reader,
    /// The Hub, the folder or an operator said that the dataset changed.
    News,
    /// The clock said that the known visibility is old.
    Maintenance,
    /// An operator wants everything computed again, also at the known revision.
    Operator {
        /// Priority of the work.
        priority: Priority,
    },
}

impl Cause {
    fn priority(self) -> Priority {
        match self {
            Self::Reader | Self::News => Priority::Normal,
            Self::Maintenance => Priority::Low,
            Self::Operator { priority } => priority,
        }
    }
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nothing to do.
    Ignored,
    /// On disk, on its way to the primary.
    Queued,
    /// On disk.
    Applied(Submitted),
    /// On disk: the dataset is not supported and was forgotten.
    NotSupported(Submitted),
}

const STRIPES: usize = 64;

/// The way in.
pub struct Intake {
    hub: Arc<dyn Hub>,
    authority: Arc<dyn Authority>,
    blocked: BlockList,
    lookups: [Mutex<()>; STRIPES],
    hasher: RandomState,
}

impl Intake {
    /// Asks `hub`, submits to `authority`, refuses what `blocked` lists.
    #[must_use]
    pub fn new(hub: Arc<dyn Hub>, authority: Arc<dyn Authority>, blocked: BlockList) -> Self {
        let lookups = std::array::from_fn(|_| Mutex::new(()));
        Self { hub, authority, blocked, lookups, hasher: RandomState::new() }
    }

    /// The authority that news goes to.
    #[must_use]
    pub fn authority(&self) -> &Arc<dyn Authority> {
        &self.authority
    }

    /// Asks the Hub about a dataset and submits what follows.
    ///
    /// # Errors
    /// [`IntakeError`]; then nothing changed.
    pub async fn refresh(
        &self,
        dataset: &DatasetName,
        cause: Cause,
    ) -> Result<(Outcome, Submitted), IntakeError> {
        let _in_order = self.in_order(dataset).await;
        let (outcome, event) = match self.hub.repo_info(dataset, None).await {
            Ok(info) if info.dataset != *dataset => (Outcome::Renamed, Event::Removed),
            Ok(info) => match judge(&info, &self.blocked) {
                Verdict::Serve { revision } => {
                    (Outcome::Served, revision_event(revision, Visibility::Public, cause))
                }
                Verdict::Withhold { revision, visibility } => {
                    let event = self.withholding_event(dataset, revision, visibility, cause).await?;
                    (Outcome::Withheld, event)
                }
                Verdict::Refuse(code) => (Outcome::Refused(code), Event::Removed),
            },
            Err(HubError::RepoNotFound(_)) => (Outcome::NotFound, Event::Removed),
            Err(HubError::Gated(_)) => (Outcome::Withheld, Event::Removed),
            Err(HubError::Disabled(_)) => {
                (Outcome::Refused(ErrorCode::NotSupportedDisabledRepositoryError), Event::Removed)
            }
            Err(error) => return Err(error.into()),
        };
        let submitted = self.authority.submit(dataset, &event, clock::now()).await?;
        tracing::info!(dataset = %dataset, ?outcome, jobs_created = submitted.jobs_created, "refreshed dataset {dataset}");
        Ok((outcome, submitted))
    }

    /// Forgets a dataset.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing changed.
    pub async fn remove(&self, dataset: &DatasetName) -> Result<Submitted, StorageError> {
        let _in_order = self.in_order(dataset).await;
        let submitted = self.authority.submit(dataset, &Event::Removed, clock::now()).await?;
        tracing::info!(dataset = %dataset, "removed dataset {dataset}");
        Ok(submitted)
    }

    /// Does what a webhook asks for (http-api.md section 4). When this returns, it is on disk.
    ///
    /// # Errors
    /// [`IntakeError`]; the sender should try again.
    pub async fn take(&self, event: WebhookEvent) -> Result<Taken, IntakeError> {
        match event {
            WebhookEvent::Ignored => Ok(Taken::Ignored),
            WebhookEvent::Removed { dataset } => Ok(Taken::Applied(self.remove(&dataset).await?)),
            WebhookEvent::Added { dataset } => self.take_change(&dataset).await,
            WebhookEvent::Moved { from, to } => {
                self.remove(&from).await?;
                self.take_change(&to).await
            }
            WebhookEvent::Updated { dataset, head, turned_private } => {
                if !turned_private && self.is_served_at(&dataset, head.as_ref()).await? {
                    return Ok(Taken::Ignored);
                }
                self.take_change(&dataset).await
            }
        }
    }

    async fn take_change(&self, dataset: &DatasetName) -> Result<Taken, IntakeError> {
        let (outcome, submitted) = self.refresh(dataset, Cause::News).await?;
        Ok(match outcome {
            Outcome::Served | Outcome::Withheld => Taken::Applied(submitted),
            Outcome::NotFound | Outcome::Renamed | Outcome::Refused(_) => Taken::NotSupported(submitted),
        })
    }

    /// Whether the dataset is public here and stands at `head`: then an update, for example of another ref, is no
    /// news.
    async fn is_served_at(
        &self,
        dataset: &DatasetName,
        head: Option<&Revision>,
    ) -> Result<bool, StorageError> {
        let record = self.authority.dataset(dataset).await?;
        Ok(record.is_some_and(|record| {
            record.visibility == Visibility::Public && head.is_some_and(|head| record.revision == *head)
        }))
    }

    async fn withholding_event(
        &self,
        dataset: &DatasetName,
        revision: Revision,
        visibility: Visibility,
        cause: Cause,
    ) -> Result<Event, StorageError> {
        let leaves_no_trace = cause == Cause::Reader && self.authority.dataset(dataset).await?.is_none();
        Ok(if leaves_no_trace { Event::Removed } else { revision_event(revision, visibility, cause) })
    }

    async fn in_order(&self, dataset: &DatasetName) -> MutexGuard<'_, ()> {
        self.lookups[self.hasher.hash_one(dataset) as usize % STRIPES].lock().await
    }
}

fn revision_event(revision: Revision, visibility: Visibility, cause: Cause) -> Event {
    let force = matches!(cause, Cause::Operator { .. });
    Event::Revision { revision, visibility, priority: cause.priority(), force }
}
