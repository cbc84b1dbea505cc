//! Every bound of the system in one place, with units in the names.
//!
//! Those that dataset-viewer exposes as environment variables are defaults here and can be changed under its names
//! (worker-and-store.md section 7); [`FirstRowsLimits`] and [`NamesLimits`] carry the configured values.

mod edge;
mod replica_stores;
mod sync;

pub use edge::*;
pub use replica_stores::*;
pub use sync::*;

/// Config names are at most this long.
pub const CONFIG_NAME_BYTES_MAX: usize = 255;
/// Split names are at most this long.
pub const SPLIT_NAME_BYTES_MAX: usize = 255;

/// Rows of a page and of the precomputed first rows.
pub const ROWS_PER_PAGE_MAX: usize = 100;
/// A stored response is at most this long (`WORKER_CONTENT_MAX_BYTES`).
pub const CONTENT_BYTES_MAX: usize = 10_000_000;
/// Column names are at most this many characters.
pub const COLUMN_NAME_CHARS_MAX: usize = 500;

/// Body of a webhook.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1_048_576;
/// Query string of a request.
pub const QUERY_BYTES_MAX: usize = 8_192;
/// Connections of one node, and requests answered at the same time: more connections wait in the accept queue, more
/// requests over HTTP/2 are told to come back.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4_096;
/// Line and headers of a request together.
pub const REQUEST_HEAD_BYTES_MAX: usize = 131_072;
/// Time for a client to send the head of its next request; also how long an idle connection is kept.
pub const REQUEST_HEAD_TIMEOUT_MS: u64 = 30_000;
/// Time for a client to send the body of a webhook.
pub const REQUEST_BODY_TIMEOUT_MS: u64 = 10_000;
/// Time that a client may leave a response unread before its connection is closed.
pub const RESPONSE_STALL_TIMEOUT_MS: u64 = 30_000;
/// Requests of one HTTP/2 connection answered at the same time.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 100;
/// Bodies above this size are compressed and cut into pages off the async threads.
pub const INLINE_RENDER_BYTES_MAX: usize = 16_384;
/// Bodies below this size are sent as they are: compressing them saves nothing.
pub const COMPRESSED_BODY_BYTES_MIN: usize = 256;
/// Changes that the ready cache follows one by one; behind by more, it forgets everything.
pub const READY_CACHE_LAG_MAX: usize = 4_096;
/// Time for work that nobody waits for any more when the process ends.
pub const EXIT_GRACE_MS: u64 = 1_000;
/// Time for open requests to end on shutdown.
pub const SHUTDOWN_GRACE_MS: u64 = 10_000;
/// Memory for ready-to-send responses, all encodings together.
pub const READY_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What `Retry-After` asks for on `ResponseNotReady`.
pub const NOT_READY_RETRY_AFTER_S: u64 = 2;

/// One call to the Hub, without retries.
pub const HUB_TIMEOUT_MS: u64 = 10_000;
/// Hub lookups for readers and webhooks under way at the same time.
pub const HUB_LOOKUPS_IN_FLIGHT_MAX: usize = 32;
/// Datasets that readers wait for a Hub lookup of; more are told to retry.
pub const HUB_LOOKUPS_WAITING_MAX: usize = 1_024;
/// Time that a reader waits for a Hub lookup (`API_HF_TIMEOUT_SECONDS`); the lookup itself goes on.
pub const HUB_LOOKUP_WAIT_MS: u64 = 5_000;
/// Datasets remembered as not to be served, so that readers do not reach the Hub with each request.
pub const REFUSALS_MAX: usize = 10_000;
/// How long such a refusal is remembered.
pub const REFUSAL_AGE_MS_MAX: u64 = 10_000;
/// How long readers of the same missing artifact are told the same without another look at the dataset's state.
pub const VERDICT_AGE_MS_MAX: u64 = 500;
/// Looks at a dataset's state on behalf of readers at the same time.
pub const STATE_READS_IN_FLIGHT_MAX: usize = 4;
/// Failed Hub lookups after which maintenance gives up the current walk.
pub const MAINTENANCE_FAILURES_MAX: usize = 16;
/// How often maintenance walks the datasets for old visibilities.
pub const MAINTENANCE_PERIOD_MS: u64 = 600_000;
/// Datasets that maintenance reads at a time.
pub const MAINTENANCE_PAGE: usize = 256;
/// How often the progress of a folder Hub's first pass is printed.
pub const PROGRESS_PERIOD_MS: u64 = 1_000;
/// How often it is looked at.
pub const PROGRESS_LOOK_MS: u64 = 50;
/// Tries of one Hub request before its error is final.
pub const HUB_ATTEMPTS_MAX: u32 = 5;
/// An access check, which a reader waits for (`API_HF_TIMEOUT_SECONDS`).
pub const HUB_AUTH_TIMEOUT_MS: u64 = 1_500;
/// First wait before a Hub request is repeated, doubled up to [`HUB_RETRY_WAIT_MS_MAX`].
pub const HUB_RETRY_WAIT_MS_MIN: u64 = 1_000;
/// Longest wait between two tries of a Hub request, unless the Hub asks for more.
pub const HUB_RETRY_WAIT_MS_MAX: u64 = 8_000;
/// All waits of one Hub request together, those that the Hub asks for included.
pub const HUB_RETRY_WAITS_TOTAL_MS_MAX: u64 = 60_000;
/// Transfers slower than this are given up, after [`HUB_TIMEOUT_MS`].
pub const HUB_TRANSFER_BYTES_PER_S_MIN: u64 = 64 * 1024;
/// Redirects followed for one Hub request.
pub const HUB_REDIRECTS_MAX: u32 = 5;
/// A JSON answer of the Hub: repository info or one page of a listing.
pub const HUB_JSON_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What is read of an error's body.
pub const HUB_ERROR_BYTES_MAX: u64 = 4 * 1024;
/// Pages followed in a Hub listing.
pub const HUB_PAGES_MAX: usize = 2_000;
/// Entries followed in a Hub tree listing.
pub const HUB_TREE_ENTRIES_MAX: usize = 1_000_000;
/// All paths of a Hub tree listing together.
pub const HUB_TREE_PATH_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How long a file is read from where the Hub redirected to, without asking the Hub again.
pub const HUB_LOCATION_AGE_MS_MAX: u64 = 60_000;
/// Files whose redirect is remembered.
pub const HUB_LOCATIONS_MAX: usize = 1_024;
/// Revisions whose file list is kept in memory.
pub const HUB_LISTINGS_CACHED_MAX: usize = 64;
/// Paths of all file lists kept in memory; the newest list is kept whatever its size.
pub const HUB_LISTINGS_CACHED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Repositories whose metadata is kept for the next job of the same revision.
pub const REPOSITORIES_CACHED_MAX: usize = 32;
/// Memory of what is kept of all repositories.
pub const REPOSITORIES_CACHED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Shortest time between two looks at a folder Hub; each look is followed by a pause of at least
/// [`FOLDER_POLL_PAUSE_FACTOR`] times its duration.
pub const FOLDER_POLL_MS_MIN: u64 = 1_000;
/// How much longer than a look at a folder Hub the pause after it is.
pub const FOLDER_POLL_PAUSE_FACTOR: u32 = 20;
/// Datasets of a folder Hub.
pub const FOLDER_DATASETS_MAX: usize = 100_000;
/// Size of the file that keeps content hashes of a folder Hub between runs.
pub const FOLDER_HASHES_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// A metadata file (README.md, dataset_infos.json ...) read whole.
pub const METADATA_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// One ranged read of a file for a job; larger ones are several.
pub const JOB_RANGE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// One ranged read.
pub const RANGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Read-ahead of a streamed file: the first block, doubled on sequential reads up to the maximum.
pub const READ_BLOCK_BYTES_MIN: usize = 64 * 1024;
/// Largest read-ahead block.
pub const READ_BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of a file that one schema inference or one row batch may hold in memory.
pub const CHUNK_BYTES: usize = 10 * 1024 * 1024;
/// Bytes of one file held in memory at once where its format cannot be streamed (a JSON array, one CSV cell).
pub const WHOLE_FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A JSON document that is read as one value, not row by row.
pub const JSON_DOCUMENT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest footer of a Parquet file.
pub const PARQUET_FOOTER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pages of a Parquet file that are held at the same time, one of each column with its dictionary, compressed and not.
pub const PARQUET_PAGES_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Values decoded from one list column of one row group of a Parquet file.
pub const PARQUET_REPEATED_VALUES_MAX: u64 = 64 * 1024 * 1024;
/// Metadata of one message of an Arrow file, or its footer.
pub const ARROW_METADATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Body of one message of an Arrow file, together with what it is decompressed to.
pub const ARROW_BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Values in one cell, all levels together; in all rows of a table, or in a document, of a JSON file.
pub const CELL_VALUES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of values after which a reader ends its table early, or its rows, so that the caller can stop.
pub const TABLE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of values after which no further first rows of a split are gathered.
pub const FIRST_ROWS_HELD_BYTES_MAX: usize = 112 * 1024 * 1024;
/// Bytes that a job holds in one place from which on it needs the turn: one job of a process at a time has it.
pub const LARGE_BUFFER_BYTES_MIN: usize = 16 * 1024 * 1024;
/// How often a job that waits for the turn looks whether it must stop.
pub const MEMORY_WAIT_LOOK_MS: u64 = 100;
/// Bytes of csv rows that the types of one chunk are inferred from.
pub const CSV_CHUNK_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of all members of one WebDataset sample, as they are held.
pub const SAMPLE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Members of one WebDataset sample.
pub const SAMPLE_FIELDS_MAX: usize = 10_000;
/// Entries of a tar archive passed over in a row: folders and links, or files that belong to no sample.
pub const TAR_HEADERS_SKIPPED_MAX: usize = 100_000;
/// Extension headers (long names, pax records) of one member of a tar archive.
pub const TAR_EXTENSIONS_MAX: usize = 16;
/// Content of one extension header of a tar archive.
pub const TAR_EXTENSION_BYTES_MAX: u64 = 1024 * 1024;
/// Decompressed bytes read from one file for one job.
pub const DECOMPRESSED_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Members of a zip archive, files and folders.
pub const ARCHIVE_MEMBERS_MAX: usize = 200_000;
/// Bytes of a zip archive that are read to list it.
pub const ARCHIVE_LISTING_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Name of a member of an archive.
pub const ARCHIVE_MEMBER_NAME_BYTES_MAX: usize = 4 * 1024;
/// Names of the members of a zip archive together.
pub const ARCHIVE_NAMES_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Decompressed bytes of one member of an archive.
pub const ARCHIVE_MEMBER_BYTES_MAX: u64 = DECOMPRESSED_BYTES_MAX;
/// Memory that a decoder may use for its dictionary or window; files that ask for more are refused.
pub const DECODER_MEMORY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Nesting depth of JSON, features, YAML and Arrow types.
pub const NESTING_DEPTH_MAX: usize = 64;
/// Columns that a reader decodes at all; above [`FirstRowsLimits::columns_max`] the step refuses them by name.
pub const COLUMNS_MAX: usize = 100_000;
/// Nodes of a YAML document after aliases are expanded, and of `dataset_infos.json`.
pub const YAML_NODES_MAX: usize = 1_000_000;
/// One message of a dataset's error; it may quote the data.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Files of one config, counted each time that a pattern matches them.
pub const DATA_FILES_MAX: usize = 1_000_000;

/// A job's lease, renewed by each heartbeat.
pub const LEASE_MS: u64 = 60_000;
/// How often a worker renews its lease.
pub const HEARTBEAT_MS: u64 = 10_000;
/// Longest run of a job (`WORKER_MAX_JOB_DURATION_SECONDS`).
pub const JOB_DURATION_MS_MAX: u64 = 20 * 60 * 1_000;
/// Runs of a job that may crash, time out or fail transiently before the failure is stored.
pub const JOB_ATTEMPTS_MAX: u32 = 3;
/// First wait before a failed run is repeated.
pub const RETRY_BACKOFF_MIN_MS: u64 = 1_000;
/// Longest wait before a failed run is repeated.
pub const RETRY_BACKOFF_MAX_MS: u64 = 600_000;
/// Wait before maintenance looks again at a stored transient error.
pub const STORED_ERROR_RETRY_MS: u64 = 2 * 3_600 * 1_000;
/// Time for running jobs to end on SIGTERM before they are given back.
pub const DRAIN_MS: u64 = 30_000;
/// Process memory above which a node claims no further job.
pub const CLAIM_RSS_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How long a look at the machine's memory and load is good for.
pub const HOST_LOOK_MS: u64 = 500;
/// Time for a cancelled run to return; then its thread is left to itself and the worker goes on.
pub const CANCEL_GRACE_MS: u64 = 5_000;
/// Runs left to themselves at the same time by one node; further workers wait for their own.
pub const ABANDONED_RUNS_MAX: usize = 4;
/// Stack of the thread that a job runs on.
pub const JOB_STACK_BYTES: usize = 8 * 1024 * 1024;
/// How often a node takes back expired leases.
pub const EXPIRE_LEASES_EVERY_MS: u64 = 15_000;
/// An idle worker looks at the queue at least this often, woken or not.
pub const IDLE_CHECK_MS: u64 = 5_000;
/// First wait before a failed call to the authority is repeated; doubled each time.
pub const AUTHORITY_RETRY_MIN_MS: u64 = 100;
/// Longest wait before a failed call to the authority is repeated.
pub const AUTHORITY_RETRY_MAX_MS: u64 = 5_000;
/// Tries of one call to the authority for one result; then the lease is left to run out.
pub const AUTHORITY_ATTEMPTS_MAX: u32 = 12;
/// Time to give leases back after [`DRAIN_MS`]; then they are left to run out.
pub const STOP_GRACE_MS: u64 = 2_000;
/// One text of an error body; longer ones are cut.
pub const ERROR_TEXT_BYTES_MAX: usize = 10_000;
/// How long the Hub's word on a dataset's visibility is trusted.
pub const VISIBILITY_AGE_MS_MAX: u64 = 3_600 * 1_000;

/// How often a process with workers says that it is there.
pub const WORKER_REPORT_MS: u64 = 10_000;
/// A process with workers that said nothing for this long is shown as lost.
pub const WORKER_LOST_MS: u64 = 45_000;
/// A process with workers that said nothing for this long is forgotten.
pub const WORKER_FORGOTTEN_MS: u64 = 600_000;
/// Processes with workers that are listed.
pub const WORKERS_LISTED_MAX: usize = 1_000;
/// Running jobs that one process reports.
pub const WORKER_JOBS_REPORTED_MAX: usize = 256;
/// Jobs or reports in one page of a listing for operators.
pub const LISTING_PAGE_MAX: usize = 1_000;
/// Records that are looked at for one page; when they are used up the page is shorter and goes on.
pub const LISTING_SCAN_MAX: usize = 20_000;
/// Running jobs shown by `node status`.
pub const STATUS_JOBS_MAX: usize = 100;
/// Pages of jobs, and of reports, in the status of one dataset.
pub const DATASET_STATUS_PAGES_MAX: usize = 10;
/// Longest wait of a client command for an answer.
pub const CLIENT_TIMEOUT_MS: u64 = 30_000;
/// What a client command reads of an answer.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bodies and details together in one page, the one that passes the bound included.
pub const LISTING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Time between two scrubs of the store; a damaged record that a reader meets brings the next one forward.
pub const SCRUB_PERIOD_MS: u64 = 24 * 3_600 * 1_000;
/// Bodies and other values are cut into chunks of this size in sled (anchors: larger values leak blob files).
pub const STORE_CHUNK_BYTES: usize = 4_000;
/// Values up to this size are kept inside the record that points to them.
pub const STORE_INLINE_BYTES_MAX: usize = 1_000;
/// zstd contexts of each direction that a process keeps for the next value, each of a few megabytes at most.
pub const STORE_ZSTD_CONTEXTS_MAX: usize = 4;
/// Page cache of the embedded store; its memory is a few times that.
pub const STORE_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// The embedded store's own periodic flush, behind the flush that every acknowledged write waits for.
pub const STORE_FLUSH_MS: u64 = 500;
/// Entry summaries, and names listed in them, that the embedded store keeps in memory for planning.
pub const STORE_SUMMARIES_KEPT_MAX: usize = 200_000;
/// How long opening a store waits for another process to let go of it.
pub const STORE_LOCK_WAIT_MS: u64 = 15_000;
/// Writes waiting for the embedded store's writer; more wait in their callers.
pub const STORE_WRITES_QUEUED_MAX: usize = 1_024;
/// Runs of a job that may end with the process before the job is claimed after all others: it may be what ends it.
pub const JOB_INTERRUPTIONS_UNSUSPECTED_MAX: u32 = 1;
/// Runs of a job that may end with the process before such an end counts as a failed run.
pub const JOB_INTERRUPTIONS_MAX: u32 = 10;
/// Expired leases taken back by one call.
pub const EXPIRED_LEASES_PER_CALL_MAX: usize = 256;
/// Changes that a follower takes from a feed at a time.
pub const FOLLOW_BATCH_MAX: usize = 512;
/// Pause before a follower asks a feed again that failed.
pub const FOLLOW_RETRY_MS: u64 = 500;
/// Records kept in the change log; a follower that is further behind reconciles.
pub const CHANGE_LOG_RECORDS_MAX: u64 = 100_000;
/// Bytes kept in the change log of a mirror.
pub const CHANGE_LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Damaged records of a mirror that wait to be fetched again.
pub const MIRROR_DAMAGED_WAITING_MAX: usize = 10_000;
/// Connections of the change feed to MongoDB.
pub const FEED_CONNECTIONS_MAX: u32 = 4;
/// Changes that the feed asks for at a time.
pub const FEED_EVENTS_PER_BATCH_MAX: u32 = 1_000;
/// How long the feed's question for changes waits at the server; what only moves the position takes that long.
pub const FEED_WAIT_MS: u64 = 200;
/// The same while everything is compared.
pub const FEED_WAIT_MS_MIN: u64 = 1;
/// Time for one of the feed's calls, beyond what it waits for changes.
pub const FEED_CALL_MS_MAX: u64 = 10_000;
/// Time for reading one batch of documents.
pub const FEED_FETCH_MS_MAX: u64 = 60_000;
/// Documents that the feed reads at a time.
pub const FEED_FETCH_DOCUMENTS_MAX: usize = 250;
/// Bytes of documents that the feed reads at a time; one document may be longer.
pub const FEED_FETCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Documents compared at a time when everything is.
pub const FEED_SCAN_DOCUMENTS_MAX: i64 = 500;
/// Mirrored records compared at a time with what the database has.
pub const FEED_SCAN_COMPARED_MAX: usize = 1_000;
/// Damaged records that the feed fetches again at a time.
pub const FEED_MENDED_MAX: usize = 64;
/// First pause before the feed connects again, doubled each time.
pub const FEED_RETRY_MS_MIN: u64 = 100;
/// Longest pause before the feed connects again.
pub const FEED_RETRY_MS_MAX: u64 = 5_000;
/// What is kept of one text about a document that cannot be mirrored.
pub const QUARANTINE_TEXT_CHARS_MAX: usize = 300;

/// Content or details of a response as BSON: the database's 16 MiB for a document, less what else is in it.
pub const MONGO_CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024 - 64 * 1024;
/// Nesting of a stored document that is read.
pub const MONGO_NESTING_DEPTH_MAX: usize = 200;
/// How long a call waits for a member of the replica set that can take it.
pub const MONGO_SERVER_SELECTION_MS: u64 = 10_000;
/// How long opening a connection may take.
pub const MONGO_CONNECT_MS: u64 = 5_000;
/// Connections of one process to one member.
pub const MONGO_CONNECTIONS_MAX: u32 = 64;
/// Tries of one transaction that others are in the way of.
pub const MONGO_TRANSACTION_ATTEMPTS_MAX: u32 = 40;
/// First pause before a transaction is tried again, doubled each time; the actual pause is a random part of it.
pub const MONGO_TRANSACTION_PAUSE_MS_MIN: u64 = 4;
/// Longest such pause.
pub const MONGO_TRANSACTION_PAUSE_MS_MAX: u64 = 500;
/// Tries of a commit whose outcome the driver could not tell.
pub const MONGO_COMMIT_ATTEMPTS_MAX: u32 = 5;
/// Tries of a claim that others are in the way of; then there is no job this time.
pub const MONGO_CLAIM_ATTEMPTS_MAX: u32 = 8;
/// Names of a listing whose children are ensured one by one; those of a longer one are planned at once.
pub const MONGO_ENSURED_NAMES_MAX: usize = 100;
/// Documents that a read asks for at a time.
pub const MONGO_BATCH_DOCUMENTS: u32 = 10_000;
/// Jobs whose documents do not fit the model, remembered so that claims pass them over.
pub const MONGO_MISFIT_JOBS_MAX: usize = 1_000;
/// Idle workers look at a shared queue at least this often: other processes cannot wake them.
pub const MONGO_POLL_MS_MAX: u64 = 200;
/// How long a process trusts what it read of running and waiting jobs.
pub const MONGO_LOOKAHEAD_AGE_MS_MAX: u64 = 400;
/// A job put back into the queue as older than all others is seen by other processes after this time at the latest.
pub const MONGO_FULL_LOOK_PERIOD_MS: u64 = 2_000;
/// Looks without a result that a process remembers for as long.
pub const MONGO_EMPTY_LOOKS_MAX: usize = 64;
/// How long `/admin/status` waits for the authority.
pub const STATUS_WAIT_MS: u64 = 5_000;
/// Silence after which dataset-viewer takes a job for stuck; its workers give a sign of life each minute.
pub const MONGO_SILENCE_MS_MAX: u64 = 300_000;
/// How long a process trusts what it read of blocked datasets.
pub const MONGO_BLOCKED_AGE_MS_MAX: u64 = 1_000;
/// How often a process adds what it counted to the metrics in the database.
pub const MONGO_METRICS_PERIOD_MS: u64 = 1_000;
/// How long the failed runs of a job are remembered after the last one.
pub const MONGO_ATTEMPTS_AGE_S_MAX: u64 = 7 * 24 * 3_600;

/// Runs shorter than this do not count against a dataset's budget (worker-and-store.md section 2.5).
pub const BUDGET_RUN_S_MIN: u64 = 30;
/// How long a run counts against the budget.
pub const BUDGET_WINDOW_MS: u64 = 3_600 * 1_000;
/// Seconds of runs that a dataset may use per window: two machines.
pub const BUDGET_S_MAX: u64 = 2 * 3_600;
/// How long the jobs of a dataset wait that used more than its budget.
pub const BLOCKAGE_MS: u64 = 6 * 3_600 * 1_000;

/// One asset.
pub const ASSET_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The text form of an asset's path, every byte of its names escaped.
pub const ASSET_PATH_BYTES_MAX: usize = 12_000;
/// The last part of an asset's path.
pub const ASSET_FILENAME_BYTES_MAX: usize = 255;
/// A media type.
pub const ASSET_CONTENT_TYPE_BYTES_MAX: usize = 100;
/// Assets up to this size, as stored, are kept in chunks; larger ones in files of their own.
pub const ASSET_CHUNKED_BYTES_MAX: usize = 64 * 1024;
/// Assets above this size are stored as they are: reading the end of a compressed one costs decompressing all of it.
pub const ASSET_COMPRESSED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Compressed assets are kept when they save one part in this many.
pub const ASSET_SAVED_PART_MIN: usize = 20;
/// Page cache of the index of assets and of the small ones.
pub const ASSET_STORE_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Files of one batch that are waited for at the same time.
pub const ASSET_SYNCS_IN_FLIGHT_MAX: usize = 4;
/// Age from which an asset that no entry refers to is dropped by a scrub; a job writes its assets before its entry.
pub const ASSET_ORPHAN_AGE_MS_MIN: u64 = 2 * 3_600 * 1_000;
/// How far the clocks of database, workers and the place of assets may be apart before assets that are new to a mirror
/// could be taken for left ones.
pub const ASSET_CLOCKS_APART_MS_MAX: u64 = 60_000;
/// What is read of an asset at a time while it is sent.
pub const ASSET_BLOCK_BYTES: usize = 128 * 1024;
/// Splits with assets that are looked at together when nothing is known about what changed.
pub const ASSET_SPLITS_PAGE: usize = 256;
/// Requests of one process to a shared store of assets at the same time.
pub const ASSET_REQUESTS_IN_FLIGHT_MAX: usize = 8;
/// A job waits for the upload of assets above this size, so that those in flight take bounded memory.
pub const ASSET_UPLOADED_ASIDE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Part of an asset that one request to a shared store reads.
pub const ASSET_REQUEST_BYTES: u64 = 1024 * 1024;
/// A request to a shared store, and all its tries.
pub const ASSET_REQUEST_TIMEOUT_MS: u64 = 120 * 1_000;
/// The connection to a shared store.
pub const ASSET_CONNECT_TIMEOUT_MS: u64 = 5 * 1_000;
/// Tries after the first.
pub const ASSET_REQUEST_RETRIES_MAX: usize = 4;
/// The index of the assets of one split at one revision.
pub const ASSET_MANIFEST_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What a record of it takes in memory.
pub const ASSET_MANIFEST_PART_BYTES_MAX: usize = 1024 * 1024;
/// Memory for the indexes that were read last.
pub const ASSET_MANIFEST_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Time for which such an index counts as the newest; an asset that it lacks is looked up at once.
pub const ASSET_MANIFEST_FRESH_MS: u64 = 2 * 1_000;
/// What the clocks of nodes that share a store of assets may differ by.
pub const ASSET_CLOCK_SKEW_MS_MAX: u64 = 30 * 1_000;

/// A media file read whole, to keep or to decode it.
pub const MEDIA_FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// First try of reading a media file whole: most files are smaller, and their sizes are not known before.
pub const MEDIA_FIRST_READ_BYTES: u64 = 4 * 1024 * 1024;
/// Memory for media, all jobs of a node together: files that were read, images that are decoded, and what they become.
/// An image that takes more by its header is refused; one that takes more with its file is made alone.
pub const IMAGE_DECODE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Size up to which a JPEG file is kept as it is but for its metadata: 2.5 bits a pixel, about twice what compressing it
/// again at the original's quality takes.
pub const JPEG_KEPT_BYTES_PER_100_PIXELS_MAX: u64 = 31;
/// Threads of a job that read, decode and store media at the same time; their images share
/// [`IMAGE_DECODE_BYTES_MAX`].
pub const MEDIA_THREADS_MAX: usize = 4;
/// What is read of an image's file to tell its width and height.
pub const IMAGE_HEAD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Audio as it is written when it is converted to WAV; its memory is taken from that of images while it is made.
pub const AUDIO_DECODED_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Length of audio that is converted.
pub const AUDIO_DURATION_S_MAX: u64 = 6 * 3_600;
/// Channels of audio that is converted.
pub const AUDIO_CHANNELS_MAX: usize = 32;
/// Samples of one channel in a second of audio that is converted.
pub const AUDIO_SAMPLE_RATE_MAX: u32 = 768_000;
/// Samples, all channels together, that one packet of audio may decode to.
pub const AUDIO_PACKET_SAMPLES_MAX: u64 = 8 * 1024 * 1024;
/// How often a job that waits for memory to decode in looks whether it must stop.
pub const IMAGE_WAIT_LOOK_MS: u64 = 100;

/// Limits of the first-rows step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRowsLimits {
    /// `FIRST_ROWS_MAX_BYTES`: size of the response.
    pub bytes_max: usize,
    /// `FIRST_ROWS_MIN_CELL_BYTES`: cells are not cut below this.
    pub cell_bytes_min: usize,
    /// `FIRST_ROWS_MIN_NUMBER`: rows kept by cutting cells.
    pub rows_min: usize,
    /// `FIRST_ROWS_COLUMNS_MAX_NUMBER`: more columns are refused.
    pub columns_max: usize,
}

impl Default for FirstRowsLimits {
    fn default() -> Self {
        Self { bytes_max: 200_000, cell_bytes_min: 100, rows_min: 10, columns_max: 1_000 }
    }
}

/// Limits of the listing steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesLimits {
    /// `CONFIG_NAMES_MAX_NUMBER`: configs of a dataset.
    pub configs_max: usize,
    /// `SPLIT_NAMES_MAX_NUMBER`: splits of a config.
    pub splits_max: usize,
}

impl Default for NamesLimits {
    fn default() -> Self {
        Self { configs_max: 4_000, splits_max: 30 }
    }
}
