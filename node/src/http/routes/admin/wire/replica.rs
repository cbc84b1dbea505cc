//! The JSON of a replica's `/admin/status`, which `node status` reads back, and its figures for `/metrics`. What is not
//! known is absent, never zero.

use serde::{Deserialize, Serialize};

use super::NodeItem;

/// How a replica stands, in its `/admin/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The node that answers.
    pub node: NodeItem,
    /// `connecting`, `reconciling` or `following`.
    pub phase: String,
    /// The upstream that it follows now.
    pub upstream: Option<String>,
    /// Where its mirror stands.
    pub position: String,
    /// Where the upstream stands, as last heard.
    pub head: Option<String>,
    /// Whether its mirror was ever filled.
    pub is_filled: bool,
    /// How old its state may be; absent when nobody knows.
    pub staleness_ms: Option<u64>,
    /// Records in the mirror.
    pub records: u64,
    /// Records that the upstream has, as last heard.
    pub head_records: Option<u64>,
    /// Bytes of all responses as stored.
    pub stored_bytes: u64,
    /// Why the last session with an upstream ended.
    pub last_end: Option<String>,
    /// Sessions begun.
    pub sessions: u64,
    /// Reconciliations begun.
    pub reconciliations: u64,
    /// Times that the mirror was not what the upstream has at the same position.
    pub differences: u64,
    /// Calls made for following.
    pub round_trips: u64,
    /// Bytes received by following.
    pub received_bytes: u64,
    /// Records received by following.
    pub received_records: u64,
    /// Nodes that follow this one.
    pub followers: u64,
    /// Whether the disk has room; without it nothing more is mirrored.
    pub has_room: bool,
    /// Bytes that the mirror takes on disk; absent when the disk does not say.
    pub disk_bytes: Option<u64>,
    /// Assets from upstream; none were counted by a node that does not say.
    #[serde(default)]
    pub assets: AssetFigures,
    /// Webhooks on their way to the primary.
    pub outbox: OutboxFigures,
    /// The last scrub of the mirror since the start.
    pub last_scrub: Option<ScrubItem>,
}

/// What a scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubItem {
    /// When it ended.
    pub at: String,
    /// Records that were read.
    pub records_checked: u64,
    /// Those that could not be, and are fetched again.
    pub records_damaged: u64,
}

impl ReplicaStatus {
    /// The figures that are known, each with its name in `/metrics`.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let known = [
            ("records", Some(self.records)),
            ("upstream_records", self.head_records),
            ("staleness_seconds", self.staleness_ms.map(|ms| ms.div_ceil(1_000))),
            ("stored_bytes", Some(self.stored_bytes)),
            ("disk_bytes", self.disk_bytes),
            ("has_room", Some(u64::from(self.has_room))),
            ("sessions", Some(self.sessions)),
            ("reconciliations", Some(self.reconciliations)),
            ("differences", Some(self.differences)),
            ("round_trips", Some(self.round_trips)),
            ("received_bytes", Some(self.received_bytes)),
            ("received_records", Some(self.received_records)),
            ("followers", Some(self.followers)),
            ("assets_fetched", Some(self.assets.fetched)),
            ("assets_fetched_bytes", Some(self.assets.fetched_bytes)),
            ("assets_skipped", Some(self.assets.skipped)),
            ("webhooks_taken", Some(self.outbox.taken)),
            ("webhooks_refused", Some(self.outbox.refused)),
            ("webhook_failures", Some(self.outbox.failures)),
        ];
        known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Assets of a replica, counted since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetFigures {
    /// Those fetched from upstream and kept.
    pub fetched: u64,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Those left to be fetched when they are read: too large, gone, too many, or over the budget.
    pub skipped: u64,
}

impl AssetFigures {
    /// Of what was fetched, with its bytes, and what was not.
    #[must_use]
    pub fn of((fetched, fetched_bytes): (u64, u64), skipped: u64) -> Self {
        Self { fetched, fetched_bytes, skipped }
    }
}

/// Webhooks on their way to the primary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxFigures {
    /// Those that wait.
    pub webhooks: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// How long the oldest waits.
    pub oldest_age_ms: Option<u64>,
    /// Those that the primary took since the start.
    pub taken: u64,
    /// Those that it will never take.
    pub refused: u64,
    /// Tries that came to nothing.
    pub failures: u64,
    /// Why the last of these did.
    pub last_failure: Option<String>,
}
