//! Bounds of the sync protocol, its upstreams and its followers (PROTOCOL.md section 10).

/// Payload of one frame of the sync protocol, as sent and once decompressed.
pub const SYNC_FRAME_BYTES_MAX: usize = 24 * 1024 * 1024;
/// What one message of the sync protocol may claim while it is decoded.
pub const SYNC_DECODE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records that are gathered into one frame, in bytes as stored; a longer record has a frame of its own.
pub const SYNC_FRAME_BYTES_TARGET: usize = 1024 * 1024;
/// Ranges that are compared in one call.
pub const SYNC_RANGES_MAX: usize = 4_096;
/// Ranges that a node first splits all of its items into.
pub const SYNC_FIRST_RANGES: usize = 256;
/// Items that a differing range is split down to.
pub const SYNC_ITEMS_PER_PART: usize = 64;
/// Items on both sides together up to which a differing range is filled instead of being compared again.
pub const SYNC_FILL_ITEMS_MAX: u64 = 512;
/// Items that a follower names in one fill.
pub const SYNC_FILL_ITEMS_PER_CALL_MAX: usize = 100_000;
/// Subjects that a follower names in one fill.
pub const SYNC_FILL_SUBJECTS_MAX: usize = 10_000;
/// Items that an upstream looks at a time while it fills.
pub const SYNC_FILL_PAGE_ITEMS: usize = 512;
/// Rounds of comparing after which the ranges that still differ are filled as they are.
pub const SYNC_COMPARE_ROUNDS_MAX: usize = 8;
/// Changes that an upstream puts into one batch of a tail, unless later ones belong to it.
pub const SYNC_BATCH_CHANGES_MAX: usize = 1_000;
/// Bytes of records in a batch of a tail, unless later changes belong to it.
pub const SYNC_BATCH_BYTES_TARGET: usize = 8 * 1024 * 1024;
/// Bytes of records in a batch, beyond which a follower reconciles instead.
pub const SYNC_BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of encoded batches that an upstream keeps for followers that stand close to each other.
pub const SYNC_BATCHES_KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Encoded batches that an upstream keeps.
pub const SYNC_BATCHES_KEPT_MAX: usize = 32;
/// Bytes of a batch that a follower gathers in memory; more are staged.
pub const SYNC_GATHERED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Pause of an upstream between two batches, so that changes which come together go together.
pub const SYNC_BATCH_PAUSE_MS: u64 = 10;
/// Time between two heartbeats of a tail, and between two questions for the head.
pub const SYNC_HEARTBEAT_MS: u64 = 1_000;
/// Silence after which a follower gives an upstream up.
pub const SYNC_SILENCE_MS_MAX: u64 = 5_000;
/// How long one message may take to arrive, however steadily its bytes drip.
pub const SYNC_MESSAGE_TIMEOUT_MS: u64 = 60_000;
/// How long a call may take to be answered, its stream not counted.
pub const SYNC_CALL_TIMEOUT_MS: u64 = 10_000;
/// First back-off after all upstreams failed; doubles, with full jitter.
pub const SYNC_BACKOFF_MS_MIN: u64 = 100;
/// Longest back-off.
pub const SYNC_BACKOFF_MS_MAX: u64 = 10_000;
/// How often a follower on a less preferred upstream looks at the preferred ones.
pub const SYNC_RETURN_MS: u64 = 30_000;
/// Nodes on the way from the origin.
pub const SYNC_PATH_MAX: usize = 16;
/// Nodes that pass a call on.
pub const SYNC_HOPS_MAX: u8 = 8;
/// Histories that a node remembers to have left.
pub const SYNC_HISTORIES_MAX: usize = 64;
/// Followers of one node.
pub const SYNC_FOLLOWERS_MAX: usize = 256;
/// Answers of an upstream about its head that wait until the mirror gets there.
pub const SYNC_HEADS_AWAITED_MAX: usize = 64;
/// Calls other than tails that a node answers at once.
pub const SYNC_CALLS_AT_ONCE_MAX: usize = 64;
/// Body of a refusal that a node reads.
pub const SYNC_REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// First pause of the relay after a webhook could not be taken; doubles.
pub const RELAY_BACKOFF_MS_MIN: u64 = 1_000;
/// Longest pause of the relay.
pub const RELAY_BACKOFF_MS_MAX: u64 = 60_000;
/// Webhooks of different datasets that are on their way at once.
pub const RELAY_IN_FLIGHT_MAX: usize = 8;
