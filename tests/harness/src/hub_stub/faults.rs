//! Planned failures of the stub.
//!
//! Owns which request meets which fault, each a given number of times, and gates that keep requests waiting. A gate
//! opens when it is dropped, so that a failing test does not hang.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::body::Bytes;
use tokio::sync::watch;

use super::lock;

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer instead of the real one.
    Answer {
        /// Its status.
        status: u16,
        /// Its headers.
        headers: Vec<(&'static str, String)>,
        /// Its body.
        body: Bytes,
    },
    /// The real answer, its connection cut after so many bytes of the body.
    CutAfter(usize),
    /// An empty page with a link to a next one that was never asked for before.
    EndlessPages,
}

impl Fault {
    /// An answer with a status and headers alone.
    #[must_use]
    pub fn status(status: u16, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self::Answer { status, headers, body: Bytes::new() }
    }

    /// A successful answer with this body.
    #[must_use]
    pub fn body(body: impl Into<Bytes>) -> Self {
        Self::Answer { status: 200, headers: Vec::new(), body: body.into() }
    }
}

/// Keeps requests waiting.
pub struct Gate {
    is_open: watch::Sender<bool>,
    waiting: watch::Receiver<usize>,
}

impl Gate {
    /// Lets the waiting requests and all later ones pass.
    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// Waits until so many requests arrived at the gate.
    pub async fn arrived(&mut self, requests: usize) {
        // The sender is gone only with the stub, whose requests then never come.
        let _ = self.waiting.wait_for(|&waiting| waiting >= requests).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

#[derive(Default)]
pub(super) struct Faults {
    planned: Mutex<VecDeque<Planned>>,
    gates: Mutex<Vec<Held>>,
}

struct Planned {
    path_prefix: String,
    times: usize,
    fault: Fault,
}

struct Held {
    path_prefix: String,
    is_open: watch::Receiver<bool>,
    waiting: watch::Sender<usize>,
}

impl Faults {
    pub(super) fn inject(&self, path_prefix: &str, times: usize, fault: &Fault) {
        let planned = Planned { path_prefix: path_prefix.to_owned(), times, fault: fault.clone() };
        lock(&self.planned).push_back(planned);
    }

    pub(super) fn hold(&self, path_prefix: &str) -> Gate {
        let (is_open, opened) = watch::channel(false);
        let (waiting, arrived) = watch::channel(0);
        lock(&self.gates).push(Held { path_prefix: path_prefix.to_owned(), is_open: opened, waiting });
        Gate { is_open, waiting: arrived }
    }

    /// The fault that a request meets, which uses it up once.
    pub(super) fn take(&self, path: &str) -> Option<Fault> {
        let mut planned = lock(&self.planned);
        let next =
            planned.iter_mut().find(|planned| planned.times > 0 && path.starts_with(&planned.path_prefix))?;
        next.times -= 1;
        Some(next.fault.clone())
    }

    /// Waits at the gates of a path.
    pub(super) async fn pass_gates(&self, path: &str) {
        let mut closed: Vec<watch::Receiver<bool>> = Vec::new();
        for held in lock(&self.gates).iter().filter(|held| path.starts_with(&held.path_prefix)) {
            if !*held.is_open.borrow() {
                held.waiting.send_modify(|waiting| *waiting += 1);
                closed.push(held.is_open.clone());
            }
        }
        for mut is_open in closed {
            // A dropped gate is open.
            let _ = is_open.wait_for(|&is_open| is_open).await;
        }
    }
}
