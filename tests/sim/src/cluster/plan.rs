//! Courses of events that chance alone would seldom bring about, and that some rules are there for.
//!
//! Owns what is arranged beside the random faults, by the number of the seed: a node that missed a change of history
//! and becomes the only upstream; slow links everywhere; an origin that is gone when everything else is healed; slow disks.
//! Random faults strike in all of them.

use std::time::Duration;

use tokio::time::Instant;

use super::Cluster;

/// What is arranged in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// The last node, which all others prefer, stays in a history that the others leave, then the origin goes.
    LeftBehind,
    /// All links are slow from the begin on.
    SlowLinks,
    /// The origin goes last, and replicas prefer each other.
    OriginGoes,
    /// Each replica has a slow disk, and followers that see less than its readers.
    SlowDisks,
}

/// One event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Isolate(usize),
    ChangeHistory,
    Rejoin(usize),
    Slow,
    LoseOrigins,
    CutAll,
}

impl Theme {
    /// How long it takes at least, in s.
    pub(super) fn seconds_min(self) -> u64 {
        if self == Self::LeftBehind { 15 } else { 5 }
    }

    /// Whether replicas follow each other rather than the origin.
    pub(super) fn is_deep(self) -> bool {
        matches!(self, Self::OriginGoes | Self::SlowDisks)
    }

    pub(super) fn of(seed: u64) -> Self {
        match seed % 4 {
            0 => Self::LeftBehind,
            1 => Self::SlowLinks,
            2 => Self::OriginGoes,
            _ => Self::SlowDisks,
        }
    }
}

impl Cluster {
    /// When which events are to happen, in order; `end` is when everything is healed.
    pub(super) fn plan(&mut self, end: Instant) -> Vec<(Instant, Act)> {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let replica = self.count - 1;
        match self.theme {
            Theme::LeftBehind if self.database.is_none() => vec![
                (after(1_500), Act::Isolate(replica)),
                (after(2_000), Act::ChangeHistory),
                (after(6_000), Act::Rejoin(replica)),
            ],
            Theme::SlowLinks => vec![(now, Act::Slow)],
            Theme::OriginGoes => vec![
                (end - Duration::from_secs(4), Act::LoseOrigins),
                (end - Duration::from_secs(2), Act::CutAll),
            ],
            Theme::LeftBehind | Theme::SlowDisks => Vec::new(),
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        self.truth.note(&format!("{act:?}"));
        match act {
            Act::Isolate(node) => self.refuse_all(node, true),
            Act::ChangeHistory => {
                self.crash(0, 0);
                self.down.retain(|(_, down)| *down != 0);
                self.rebuild_origin();
                self.start(0);
            }
            Act::Rejoin(node) => {
                self.refuse_all(node, false);
                self.network.heal();
                // Nothing newer can be had now, and the node itself waits longer until it looks again.
                self.lose(0, 8_000);
            }
            Act::Slow => {
                for (from, to) in self.pairs() {
                    self.network.change(from, to, |link| link.delay_ms_max = 400);
                }
            }
            // Whoever comes first follows the other.
            Act::CutAll => self.pairs().into_iter().for_each(|(from, to)| {
                self.network.change(from, to, |link| link.cuts += 1);
            }),
            Act::LoseOrigins => (0..self.primaries).for_each(|number| self.lose(number, 60_000)),
        }
    }

    /// Crashes a node for so long.
    fn lose(&mut self, number: usize, down_ms: u64) {
        self.crash(number, 0);
        self.down.retain(|(_, down)| *down != number);
        self.down.push((Instant::now() + Duration::from_millis(down_ms), number));
    }

    fn refuse_all(&self, node: usize, is_refused: bool) {
        for (from, to) in self.pairs().into_iter().filter(|(from, to)| *from == node || *to == node) {
            self.network.change(from, to, |link| link.is_refused = is_refused);
        }
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        (0..self.count).flat_map(|from| (0..self.count).map(move |to| (from, to))).collect()
    }
}
