//! Bounds of what a node does for other nodes and of what a replica does for its readers (PROTOCOL.md sections 8 to 10).

/// Body of a call from another node.
pub const SYNC_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bodies of calls that are read at once; others wait, within the time that a body has.
pub const SYNC_REQUESTS_READ_MAX: usize = 16;
/// How long the body of a call may take to arrive.
pub const SYNC_REQUEST_TIMEOUT_MS: u64 = 10_000;
/// Lookups, webhooks and assets that a node answers to other nodes at once.
pub const SYNC_DESK_CALLS_MAX: usize = 256;
/// Part of an asset in one frame. Readers behind a slow link see the first bytes once the first part is whole.
pub const SYNC_ASSET_PART_BYTES: usize = 128 * 1024;

/// How long a read waits for the state that it asks for.
pub const READ_WAIT_MS: u64 = 300;
/// How often it looks whether the state has become young enough.
pub const READ_LOOK_MS: u64 = 20;
/// Seconds after which a reader tries again what a replica could not answer.
pub const REPLICA_RETRY_AFTER_S: u64 = 2;
/// Lookups of a replica that are on their way to its upstream at once.
pub const LOOKUPS_IN_FLIGHT_MAX: usize = 64;
/// Different lookups that wait or are on their way; a reader with one more is told to come back.
pub const LOOKUPS_WAITING_MAX: usize = 1_024;
/// How long a reader waits for the answer of an upstream.
pub const LOOKUP_TIMEOUT_MS: u64 = 5_000;

/// Assets up to this size are kept by a replica unless its operator says otherwise; larger ones are passed through.
pub const ASSET_KEPT_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// The largest size that an operator may choose there: what comes is in memory until it is stored.
pub const ASSET_KEPT_BYTES_MAX: u64 = ASSETS_COMING_BYTES_MAX;
/// Disk that a replica gives to assets unless its operator says otherwise.
pub const ASSET_MIRROR_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;
/// Memory for assets that are on their way to a replica's store; what does not fit is passed through and not kept.
pub const ASSETS_COMING_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long an asset may take to arrive, however steadily its bytes drip.
pub const ASSET_FETCH_TIMEOUT_MS: u64 = 300_000;
/// Assets that a replica fetches at once.
pub const ASSET_FETCHES_MAX: usize = 8;
/// Assets that a replica fetches at once before anyone asks for them, beside those that readers wait for.
pub const ASSETS_AHEAD_IN_FLIGHT_MAX: usize = 2;
/// Part of a replica's disk for assets, in percent: up to here they are fetched before anyone asks for them, and down to
/// here those that were read longest ago give way to others.
pub const ASSETS_MARK_PERCENT: u64 = 90;
/// Splits whose assets give way between two looks at all of them.
pub const ASSET_ROWS_EVICTED_AT_ONCE: usize = 64;
/// Splits of which a replica knows when their assets were last read; further ones count as read longest ago.
pub const ASSET_ROWS_REMEMBERED_MAX: usize = 100_000;
/// How long a node reads on from a store whose writes fail, before it starts anew to open it again. Room on a full disk is
/// waited for however long that takes.
pub const STORE_REOPEN_PAUSE_MS: u64 = 10_000;
/// How long open requests may go on when a node starts anew: meanwhile it takes no new ones.
pub const REOPEN_GRACE_MS: u64 = 1_000;
/// What a client takes at a time of an answer over HTTP/2.
pub const RESPONSE_PART_BYTES_MAX: usize = 65_536;
/// How often a replica notes in which order assets were read.
pub const ASSET_READS_NOTED_MS: u64 = 300_000;
/// The file in which it notes that; what is behind is left out.
pub const ASSET_READS_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Assets of one entry that are fetched before anyone asks for them.
pub const ASSETS_AHEAD_PER_ENTRY_MAX: usize = 1_000;
/// Tries in a row to fetch an asset that nobody has asked for.
pub const ASSET_AHEAD_TRIES_MAX: usize = 3;
/// How long an entry waits whose assets could not be fetched.
pub const ASSETS_AHEAD_RETRY_MS: u64 = 60_000;
/// Entries that wait for that; of further ones, assets are fetched when they are read.
pub const ASSETS_AHEAD_WAITING_MAX: usize = 10_000;
/// How often a replica notes how far it has looked for assets to fetch.
pub const ASSETS_AHEAD_NOTED_MS: u64 = 5_000;
