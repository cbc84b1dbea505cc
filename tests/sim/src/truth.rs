//! What really happened, and what nobody may say otherwise.
//!
//! Owns the history of the origin, every state and when it came to be, and checks against it what replicas hold and what
//! readers are told. A check that fails is noted with the time; the run goes on, so that the first one can be found.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outpost_model::{Epoch, Position};
use tokio::time::Instant;

use crate::state::{Digest, Key, State, Step, content_of, key_of};

/// A place in all histories: number of the history, seq.
type Order = (usize, u64);

#[derive(Default)]
struct Inner {
    histories: Vec<Epoch>,
    /// Every state of the origin, with when it came to be.
    states: BTreeMap<Order, (Digest, u64)>,
    /// Each record's contents, and since when.
    contents: BTreeMap<Key, Vec<(Order, Option<u128>)>>,
    violations: Vec<String>,
    trace: blake3::Hasher,
    lines: Vec<String>,
    checks: u64,
    /// Whether the origin lost what it had told: what is the newest nobody can say then.
    is_history_lost: bool,
}

/// See the module.
pub struct Truth {
    began: Instant,
    is_loud: bool,
    inner: Mutex<Inner>,
}

/// What a reader was told.
#[derive(Debug, Clone)]
pub struct Told {
    /// Who was asked, for people.
    pub by: String,
    /// The record asked for.
    pub key: Key,
    /// What it holds, `None` when there is none.
    pub content: Option<u128>,
    /// The position that was known when the record was read.
    pub from: Position,
    /// The position that the answer states.
    pub position: Position,
    /// What the reader demanded.
    pub after: Option<Position>,
    /// The stated age.
    pub age: Option<Duration>,
    /// The age that the reader demanded.
    pub age_max: Option<Duration>,
}

impl Truth {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(is_loud: bool) -> Self {
        Self { began: Instant::now(), is_loud, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes an event; the trace of two runs of a seed must be the same.
    pub fn note(&self, event: &str) {
        let line = format!("{:>8} {event}", self.now_ms());
        let mut inner = self.lock();
        inner.trace.update(line.as_bytes());
        if self.is_loud {
            inner.lines.push(line);
        }
    }

    /// Notes something that must not be.
    pub fn violated(&self, what: &str) {
        self.note(&format!("VIOLATION: {what}"));
        let line = format!("at {} ms: {what}", self.now_ms());
        self.lock().violations.push(line);
    }

    /// The origin lost a part of its history without knowing.
    pub fn lost_history(&self, event: &str) {
        self.note(event);
        self.lock().is_history_lost = true;
    }

    /// The origin begins a history with a state, which may be empty.
    pub fn began(&self, state: &State) {
        let now = self.now_ms();
        let mut inner = self.lock();
        inner.histories.push(state.position.epoch);
        let order = (inner.histories.len() - 1, state.position.seq);
        if state.position.seq > 0 {
            inner.states.insert(order, (state.digest(), now));
        }
        let mut contents: BTreeMap<&Key, u128> = BTreeMap::new();
        for (key, record) in state.records() {
            contents.insert(key, content_of(key, record));
        }
        for (key, since) in &mut inner.contents {
            since.push((order, contents.remove(key)));
        }
        for (key, content) in contents {
            inner.contents.insert(key.clone(), vec![(order, Some(content))]);
        }
    }

    /// The origin has this on its disk now.
    pub fn committed(&self, state: &State, step: &Step) {
        let now = self.now_ms();
        let mut inner = self.lock();
        let order = (inner.histories.len() - 1, state.position.seq);
        inner.states.insert(order, (state.digest(), now));
        let (Step::Apply(batch) | Step::Switch(batch, _)) = step;
        for change in &batch.changes {
            let key = key_of(&change.subject());
            let content = state.get(&key).map(|record| content_of(&key, record));
            inner.contents.entry(key).or_default().push((order, content));
        }
    }

    /// A replica's readers see this now.
    pub fn stands(&self, node: usize, was: Position, state: &State) {
        self.note(&format!("node {node} stands at {}", short(&state.position)));
        let wrong = {
            let mut inner = self.lock();
            inner.checks += 1;
            inner.wrong_state(was, state)
        };
        if let Some(wrong) = wrong {
            self.violated(&format!("node {node}: {wrong}"));
        }
    }

    /// A reader was told something.
    pub fn told(&self, told: &Told) {
        let now = self.now_ms();
        let wrong = {
            let mut inner = self.lock();
            inner.checks += 1;
            inner.wrong_answer(told, now)
        };
        if let Some(wrong) = wrong {
            self.violated(&format!("a reader at {}: {wrong}", told.by));
        }
    }

    /// Checks made, what was violated, the sum of the trace, the trace.
    #[must_use]
    pub fn end(&self) -> (u64, Vec<String>, String, Vec<String>) {
        let inner = self.lock();
        let trace = inner.trace.finalize().to_hex().to_string();
        (inner.checks, inner.violations.clone(), trace, inner.lines.clone())
    }
}

impl Inner {
    fn order(&self, position: &Position) -> Option<Order> {
        let history = self.histories.iter().position(|epoch| *epoch == position.epoch)?;
        Some((history, position.seq))
    }

    fn wrong_state(&self, was: Position, state: &State) -> Option<String> {
        let position = state.position;
        if position.seq == 0 {
            return (was.seq > 0).then(|| format!("the mirror that stood at {} was emptied", short(&was)));
        }
        if state.is_amid {
            return Some("readers see a part of a change".to_owned());
        }
        let Some(order) = self.order(&position) else { return Some("a history that never was".to_owned()) };
        if was.seq > 0 && self.order(&was).is_some_and(|was| was > order) {
            return Some(format!("went back from {} to {}", short(&was), short(&position)));
        }
        match self.states.get(&order) {
            None => Some(format!("stands at {}, where the origin never stood", short(&position))),
            Some((digest, _)) if *digest != state.digest() => {
                let wrong = self.wrong_records(state, order);
                Some(format!("its state at {} is not the origin's: {wrong:?}", short(&position)))
            }
            Some(_) => None,
        }
    }

    /// Records that are not what they were, for people: when the right one and the wrong one came to be.
    fn wrong_records(&self, state: &State, order: Order) -> Vec<String> {
        let wrong = self.contents.iter().filter_map(|(key, contents)| {
            let right = contents.iter().rev().find(|(since, _)| *since <= order);
            let found = state.get(key).map(|record| content_of(key, record));
            let of_found = contents.iter().find(|(_, content)| *content == found);
            let is_right = right.and_then(|(_, content)| *content) == found;
            let key = String::from_utf8_lossy(key).replace('\0', " ");
            (!is_right).then(|| format!("{key}: {right:?} instead of {of_found:?}"))
        });
        wrong.take(3).collect()
    }

    fn wrong_answer(&self, told: &Told, now: u64) -> Option<String> {
        let (Some(from), Some(to)) = (self.order(&told.from), self.order(&told.position)) else {
            return Some("a history that never was".to_owned());
        };
        if let Some(after) = &told.after
            && self.order(after).is_some_and(|after| after > from)
        {
            return Some(format!("demanded {}, got {}", short(after), short(&told.from)));
        }
        if !self.held(&told.key, told.content, from, to) {
            return Some(format!(
                "what it got was not so at {}..{}",
                short(&told.from),
                short(&told.position)
            ));
        }
        if self.is_history_lost {
            return None;
        }
        let truly = self.states.range((to.0, to.1 + 1)..).next().map_or(0, |(_, (_, at))| now - at);
        if let Some(age) = told.age
            && age < Duration::from_millis(truly)
        {
            return Some(format!("stated an age of {age:?}, it was {truly} ms"));
        }
        if told.age_max.is_some_and(|max| max < Duration::from_millis(truly)) {
            return Some(format!("demanded an age of {:?}, it was {truly} ms", told.age_max));
        }
        None
    }

    /// Whether a record had this content somewhere between two places.
    fn held(&self, key: &Key, content: Option<u128>, from: Order, to: Order) -> bool {
        let Some(contents) = self.contents.get(key) else { return content.is_none() };
        let at_from =
            contents.iter().rev().find(|(order, _)| *order <= from).and_then(|(_, content)| *content);
        at_from == content
            || contents.iter().any(|(order, then)| *order > from && *order <= to && *then == content)
    }
}

/// A position for people: the end of the epoch, the seq.
#[must_use]
pub fn short(position: &Position) -> String {
    format!("{:04x}:{}", position.epoch.0 & 0xffff, position.seq)
}
