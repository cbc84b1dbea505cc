//! Records that a store met and could not read, until they are written anew or gone.
//!
//! Owns the list between readers, scrubs and the follower, as the real store has it. It is in memory: after a crash the
//! next read or scrub meets the damage again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use outpost_model::items::Changed;
use tokio::sync::Notify;

use crate::state::{Found, Key, State, key_of};

/// See the module.
#[derive(Default)]
pub struct DamageLog {
    waiting: Mutex<BTreeMap<Key, Changed>>,
    news: Notify,
}

impl DamageLog {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Changed>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a damaged record.
    pub fn report(&self, subject: &Changed) {
        if self.lock().insert(key_of(subject), subject.clone()).is_none() {
            self.news.notify_one();
        }
    }

    /// Notes all of a state.
    pub fn scrub(&self, state: &State) {
        state.damaged().for_each(|record| self.report(&record.subject()));
    }

    /// Forgets those that a state has whole, or no more.
    pub fn forget_healed(&self, state: &State) {
        self.lock().retain(|key, _| matches!(state.read(key), Found::Damaged));
    }

    /// Those that wait, at most `max`.
    #[must_use]
    pub fn waiting(&self, max: usize) -> Vec<Changed> {
        self.lock().values().take(max).cloned().collect()
    }

    /// Returns once there may be new ones.
    pub async fn news(&self) {
        self.news.notified().await;
    }
}
