//! Transactions: begin, attempt, commit, and again when others were in the way.
//!
//! Owns the bounds of trying again and the position that a commit contains. An attempt that is refused or fails leaves
//! nothing behind. Only a commit whose outcome stays unknown may have taken effect although the call failed; what a
//! caller repeats is then refused by its fence.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use outpost_model::limits;

use super::Inner;
use super::errors::{is_duplicate_key, storage_error};
use crate::error::StorageError;

/// How an attempt ended.
pub(super) enum Done<T> {
    /// What it wrote is to be committed.
    Commit(T),
    /// It wrote nothing that must stay.
    Nothing(T),
}

/// Why an attempt did not end.
pub(super) enum Failure {
    /// The rules refuse the call: no use in trying again.
    Refused(StorageError),
    /// The database failed, or another transaction was in the way.
    Database(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::Refused(error)
    }
}

/// What runs in a transaction, more than once when needed.
#[async_trait]
pub(super) trait Attempt: Sync {
    type Output: Send;

    /// What the commit waits for.
    const ACKNOWLEDGED: Acknowledged = Acknowledged::ByMajority;

    /// Runs once, from the start, over the database as it is now.
    async fn attempt(
        &self,
        store: &Inner,
        session: &mut ClientSession,
    ) -> Result<Done<Self::Output>, Failure>;
}

/// What a commit waits for.
#[derive(Clone, Copy)]
pub(super) enum Acknowledged {
    /// Journals of a majority: it survives the loss of a member.
    ByMajority,
    /// The member that took it. Should that be lost, so may the whole transaction be, and all that came of it.
    ByPrimary,
}

impl Acknowledged {
    fn concern(self) -> WriteConcern {
        match self {
            Self::ByMajority => durable(),
            Self::ByPrimary => WriteConcern::builder().w(Acknowledgment::Nodes(1)).build(),
        }
    }
}

/// What a transaction gave and, when it wrote, the seq that contains it.
pub(super) struct Transacted<T> {
    pub(super) output: T,
    pub(super) seq: Option<u64>,
}

impl Inner {
    /// Runs an attempt until it commits, is refused, or the tries are used.
    pub(super) async fn transact<A: Attempt>(
        &self,
        attempt: &A,
    ) -> Result<Transacted<A::Output>, StorageError> {
        let mut session = self.client.start_session().await.map_err(storage_error)?;
        let mut last = None;
        for number in 0..limits::MONGO_TRANSACTION_ATTEMPTS_MAX {
            if number > 0 {
                tokio::time::sleep(pause(number)).await;
            }
            match self.try_once(attempt, &mut session).await {
                Ok(transacted) => return Ok(transacted),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::Database(error)) if may_pass(&error) => last = Some(error),
                Err(Failure::Database(error)) => return Err(storage_error(error)),
            }
        }
        let tries = limits::MONGO_TRANSACTION_ATTEMPTS_MAX;
        let cause = last.map(|error| error.to_string()).unwrap_or_default();
        Err(StorageError::Engine(format!("gave up a transaction after {tries} tries: {cause}")))
    }

    async fn try_once<A: Attempt>(
        &self,
        attempt: &A,
        session: &mut ClientSession,
    ) -> Result<Transacted<A::Output>, Failure> {
        // One view of the database for the whole attempt, as with "snapshot", but the latest one: that of "snapshot"
        // may be older than a claim. A commit that waits for a majority waits with it for all that was read.
        let begin = session.start_transaction().read_concern(ReadConcern::majority());
        begin.write_concern(A::ACKNOWLEDGED.concern()).await?;
        match attempt.attempt(self, session).await {
            Ok(Done::Commit(output)) => {
                commit(session).await?;
                let seq = self.note_operation_time(session);
                Ok(Transacted { output, seq: Some(seq) })
            }
            Ok(Done::Nothing(output)) => {
                abort(session).await;
                Ok(Transacted { output, seq: None })
            }
            Err(failure) => {
                abort(session).await;
                Err(failure)
            }
        }
    }
}

/// Acknowledged by a majority, from their journals: what survives the loss of a member.
pub(super) fn durable() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build()
}

async fn commit(session: &mut ClientSession) -> Result<(), Error> {
    let mut tries = 1;
    loop {
        match session.commit_transaction().await {
            Err(error)
                if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
                    && tries < limits::MONGO_COMMIT_ATTEMPTS_MAX =>
            {
                tokio::time::sleep(pause(tries)).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

async fn abort(session: &mut ClientSession) {
    // The server ends an abandoned transaction by itself, so a failure changes nothing.
    if let Err(error) = session.abort_transaction().await {
        tracing::debug!(%error, "failed to abort a transaction");
    }
}

fn may_pass(error: &Error) -> bool {
    error.contains_label(TRANSIENT_TRANSACTION_ERROR) || is_duplicate_key(error)
}

/// A random part of a pause that doubles, so that those in each other's way drift apart.
pub(super) fn pause(number: u32) -> Duration {
    let doubled = limits::MONGO_TRANSACTION_PAUSE_MS_MIN.saturating_mul(1 << number.min(16));
    let longest_us = doubled.min(limits::MONGO_TRANSACTION_PAUSE_MS_MAX) * 1_000;
    Duration::from_micros(fastrand::u64(longest_us / 4..=longest_us))
}
