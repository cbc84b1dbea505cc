//! Submitting an event: one transaction that reads the dataset's state, plans, and applies the plan.

use async_trait::async_trait;
use mongodb::ClientSession;
use outpost_model::planning::{self, Event};
use outpost_model::{DatasetName, TimestampMs};

use super::Inner;
use super::transaction::{Attempt, Done, Failure};
use super::write::Applied;
use crate::authority::Submitted;
use crate::error::StorageError;

struct Submission<'a> {
    dataset: &'a DatasetName,
    event: &'a Event,
    now: TimestampMs,
}

impl Inner {
    /// See [`crate::Authority::submit`].
    pub(super) async fn submit(
        &self,
        dataset: &DatasetName,
        event: &Event,
        now: TimestampMs,
    ) -> Result<Submitted, StorageError> {
        let turn = self.guards.take(dataset).await;
        let transacted = self.transact(&Submission { dataset, event, now }).await?;
        drop(turn);
        self.lookahead.forget();
        let Some(seq) = transacted.seq else {
            return Ok(Submitted { position: self.current_position().await?, jobs_created: 0 });
        };
        let jobs_created = transacted.output.jobs_created;
        self.metrics.add(transacted.output.counts);
        if jobs_created > 0 {
            self.work.notify_waiters();
        }
        Ok(Submitted { position: self.position_at(seq), jobs_created })
    }
}

#[async_trait]
impl Attempt for Submission<'_> {
    type Output = Applied;

    async fn attempt(&self, store: &Inner, session: &mut ClientSession) -> Result<Done<Applied>, Failure> {
        let record = store.guard(session, self.dataset).await?;
        let mut view = store.load_view(Some(&mut *session), self.dataset).await?;
        if *self.event == Event::Removed {
            let (existed, counts) = store.delete_dataset(session, self.dataset, &view).await?;
            let applied = Applied { jobs_created: 0, counts };
            return Ok(if existed || record.is_some() {
                Done::Commit(applied)
            } else {
                Done::Nothing(applied)
            });
        }
        view.state.visibility = record.as_ref().map(|record| record.visibility);
        view.state.revision = match &record {
            Some(record) => Some(record.revision.clone()),
            None => store.derived_revision(self.dataset, Some(&mut *session)).await?,
        };
        let tasks = planning::plan(self.dataset, &view.state, self.event);
        if tasks.is_empty() {
            return Ok(Done::Nothing(Applied::default()));
        }
        Ok(Done::Commit(store.apply(session, self.dataset, &view, tasks, self.now).await?))
    }
}
