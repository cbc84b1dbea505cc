//! Records that cannot be read and wait to be fetched again.
//!
//! Owns the list between readers, who meet damage, and the filler, who mends it. Bounded: damage beyond the bound is
//! counted, and found again by the next reader or scrub.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use outpost_model::limits;
use tokio::sync::Notify;

use crate::mirror::Changed;

/// See the module.
#[derive(Default)]
pub(super) struct DamageLog {
    waiting: Mutex<HashSet<Changed>>,
    met: AtomicU64,
    news: Notify,
}

impl DamageLog {
    /// Notes a damaged record.
    pub(super) fn report(&self, subject: &Changed, cause: &str) {
        self.met.fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < limits::MIRROR_DAMAGED_WAITING_MAX && waiting.insert(subject.clone()) {
            tracing::error!(?subject, %cause, "a mirrored record is damaged and is fetched again");
            self.news.notify_one();
        }
    }

    /// Damaged records that wait, at most `max`.
    pub(super) fn waiting(&self, max: usize) -> Vec<Changed> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().take(max).cloned().collect()
    }

    /// Whether `subject` waits.
    pub(super) fn holds(&self, subject: &Changed) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains(subject)
    }

    /// These were written anew or deleted.
    pub(super) fn forget(&self, healed: &[Changed]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for subject in healed {
            waiting.remove(subject);
        }
    }

    /// Damaged records met so far.
    pub(super) fn met(&self) -> u64 {
        self.met.load(Ordering::Relaxed)
    }

    /// Returns once there may be new damage.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}
