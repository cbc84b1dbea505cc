//! Bounds of what a replica keeps: stages of its mirror, room on its disk, webhooks in its outbox.

/// Changes of a stage that a mirror switches to in one batch, while which readers wait; more go through a layer.
pub const STAGE_SWITCH_CHANGES_MAX: usize = 500;
/// Changes of a stage kept in memory; a larger one is drafted in the store, which takes no other writes meanwhile.
pub const STAGE_MEMORY_CHANGES_MAX: usize = 20_000;
/// Bytes of a stage's changes kept in memory, bodies not counted.
pub const STAGE_MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Rows of a layer moved or swept at a time, while which a mirror's writer waits.
pub const STAGE_MOVED_ROWS: usize = 256;
/// Pause of a mirror's mover between two steps, for the writer's sake.
pub const STAGE_MOVER_PAUSE_MS: u64 = 1;
/// Room that is left on the disk of a data directory: below it nothing more is mirrored.
pub const DISK_FREE_BYTES_MIN: u64 = 512 * 1024 * 1024;
/// On a small disk, this part of it is left free instead: one in so many bytes.
pub const DISK_FREE_SHARE_MIN: u64 = 20;
/// Webhooks that a replica keeps until its upstream took them; more are refused.
pub const OUTBOX_ENTRIES_MAX: usize = 100_000;
/// Bytes of their bodies, as sent.
pub const OUTBOX_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Datasets that one webhook is about at most: a rename has two.
pub const OUTBOX_DATASETS_MAX: usize = 2;
/// Page cache of the outbox.
pub const OUTBOX_CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Webhooks of an outbox that cannot be read and are kept for a person to look at.
pub const OUTBOX_QUARANTINE_MAX: usize = 1_000;
/// How long an authority knows that it took a relayed webhook.
pub const WEBHOOK_ID_AGE_MS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// Relayed webhooks that an authority knows it took; the oldest are forgotten first.
pub const WEBHOOK_IDS_MAX: u64 = 200_000;
