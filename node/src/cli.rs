//! The command line: what can be typed, in the field's words.
//!
//! Owns the options of design section 2 and their `--help`. Each option also reads `OUTPOST_` + its upper-case name.
//! What the values mean together is `config`'s business.

#![expect(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "the option docs are shown by --help as they are written"
)]

use clap::{Args, Parser, Subcommand};

/// The dataset viewer at the edge.
///
/// Lists the configs and splits of Hugging Face datasets, computes the first
/// 100 rows of each split ahead of time, and serves them with low latency.
///
/// A node runs as a primary, over the Hub or over a folder that stands in for it:
///
///   node --hub ./my-datasets    serve a folder laid out as NAMESPACE/NAME/files
///   node                        serve public datasets of the Hub, on demand and
///                               by webhook
///
/// or as a replica, which serves a copy of another node close to its readers:
///
///   node --role replica --upstream http://127.0.0.1:8001 --data-dir ./copy
///
/// The commands below talk to a node that runs.
#[derive(Debug, Clone, Parser)]
#[command(name = "node", version, max_term_width = 110, verbatim_doc_comment)]
pub struct Cli {
    /// A client command; without one the node runs in its role.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What the node does: `primary` computes and serves, `worker` computes for a primary elsewhere over the database
    /// that both share, `replica` serves a copy close to the readers.
    ///
    /// Default: primary; on fly.io, the name of the process group.
    #[arg(long, env = "OUTPOST_ROLE", value_name = "ROLE")]
    pub role: Option<String>,

    /// Address of the public HTTP API; of a worker, of its health check and metrics.
    ///
    /// Default: [::]:8000, falling back to 0.0.0.0:8000 where there is no IPv6; of a worker, a free port of 127.0.0.1.
    #[arg(long, env = "OUTPOST_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// What the asset URLs in responses start with; in production the host name that readers use.
    ///
    /// Default: http://localhost:PORT; on fly.io, https://APP.fly.dev.
    #[arg(long, env = "OUTPOST_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Directory of everything that the node keeps. All of it can be computed again from the Hub.
    #[arg(long, env = "OUTPOST_DATA_DIR", default_value = "./data", value_name = "DIRECTORY")]
    pub data_dir: String,

    /// Where datasets come from: the URL of a Hub, or a folder laid out as NAMESPACE/NAME/files that stands in for it
    /// (offline use, tests, private data). Changes in a folder are noticed and computed without a webhook.
    ///
    /// Default: https://huggingface.co.
    #[arg(long, env = "OUTPOST_HUB", value_name = "URL|FOLDER")]
    pub hub: Option<String>,

    /// Token that the node authenticates to the Hub with. Also read from HF_TOKEN.
    #[arg(long, env = "OUTPOST_HUB_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub hub_token: Option<String>,

    /// Where cache and job queue live: `embedded` in the data directory, for one primary alone, or the mongodb:// URL
    /// of a replica set, for primaries and workers that share it. Also read from CACHE_MONGO_URL and QUEUE_MONGO_URL.
    ///
    /// Default: embedded.
    #[arg(long, env = "OUTPOST_STORE", hide_env_values = true, value_name = "embedded|URL")]
    pub store: Option<String>,

    /// Where workers put assets such as images: a folder, or s3://BUCKET/PREFIX. Nodes with the same --store may share
    /// it; others need a folder or a prefix of their own. A bucket is reached by the variables AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true for an http:// endpoint.
    ///
    /// Default: under the data directory, for this node alone; a worker needs one.
    #[arg(long, env = "OUTPOST_ASSETS", value_name = "FOLDER|s3://BUCKET/PREFIX")]
    pub assets: Option<String>,

    /// In-process workers per queue; `0` for none. The queue `datasets` lists configs and splits, `splits` computes
    /// rows. Of a worker also a number: so many jobs at the same time, from all its queues.
    ///
    /// Default: datasets=1,splits=2; of a worker, 1.
    #[arg(long, env = "OUTPOST_WORKERS", value_name = "QUEUE=N,...|N")]
    pub workers: Option<String>,

    /// Worker role: the queues to take jobs from, `datasets` or `splits` or both.
    ///
    /// Default: both.
    #[arg(long, env = "OUTPOST_QUEUE", value_delimiter = ',', value_name = "QUEUE")]
    pub queue: Vec<String>,

    /// Replica role: the sync listeners to follow, in order of preference.
    ///
    /// Default: on fly.io, the app's primary.
    #[arg(long, env = "OUTPOST_UPSTREAM", value_delimiter = ',', value_name = "URL")]
    pub upstream: Vec<String>,

    /// Address of the listener for other nodes, or `off`. One that other machines can reach needs a --sync-token.
    ///
    /// Default: of a primary 127.0.0.1:8001, on fly.io the private network; of a replica off.
    #[arg(long, env = "OUTPOST_SYNC_LISTEN", value_name = "ADDRESS:PORT")]
    pub sync_listen: Option<String>,

    /// Secret shared between the nodes: shown to --upstream, and expected at --sync-listen.
    #[arg(long, env = "OUTPOST_SYNC_TOKEN", hide_env_values = true, value_name = "SECRET")]
    pub sync_token: Option<String>,

    /// Expected in the X-Webhook-Secret header of the Hub's webhooks; without one every webhook is refused. Also read
    /// from API_HF_WEBHOOK_SECRET.
    #[arg(long, env = "OUTPOST_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub webhook_secret: Option<String>,

    /// Expected as a bearer token from operators, who see and change the queue under /admin; the commands status,
    /// refresh, backfill and cancel send it.
    ///
    /// Default: one that the node makes, in the file admin-token of its data directory.
    #[arg(long, env = "OUTPOST_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub admin_token: Option<String>,

    /// Replica role: when staler than this, the node is not ready and each response says how old it may be.
    #[arg(long, env = "OUTPOST_MAX_STALENESS", default_value = "60s", value_name = "DURATION")]
    pub max_staleness: String,

    /// Replica role: how long a replica without word from upstream goes on to call a dataset public.
    #[arg(long, env = "OUTPOST_MAX_VISIBILITY_AGE", default_value = "1h", value_name = "DURATION")]
    pub max_visibility_age: String,

    /// Replica role: assets such as images are kept up to this size each, at most 64MiB; larger ones are passed through
    /// when they are read. `0` keeps none.
    ///
    /// Default: 16MiB.
    #[arg(long, env = "OUTPOST_MAX_ASSET_SIZE", value_name = "SIZE")]
    pub max_asset_size: Option<String>,

    /// Replica role: disk for assets. They are fetched ahead until nine tenths are taken; then those that were read
    /// longest ago give way to what is read.
    ///
    /// Default: 4GiB.
    #[arg(long, env = "OUTPOST_ASSET_BUDGET", value_name = "SIZE")]
    pub asset_budget: Option<String>,

    /// Replica role: keep non-public datasets too.
    #[arg(
        long,
        env = "OUTPOST_MIRROR_PRIVATE",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        value_name = "BOOL"
    )]
    pub mirror_private: bool,

    /// How log lines look: `text`, `json`, or `auto` for text on a terminal and JSON otherwise. RUST_LOG filters them.
    #[arg(long, env = "OUTPOST_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub log_format: String,
}

/// Client commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Start a primary on sample datasets and a replica of it, and say where to look; Ctrl-C ends both.
    Demo,
    /// Show what a node does: its queue, what runs, its workers, what is stored.
    Status {
        /// The node.
        #[command(flatten)]
        node: NodeArgs,
        /// Print the node's answer as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget what is stored of a dataset and compute it again.
    Refresh {
        /// The dataset.
        dataset: String,
        /// How urgent it is: `high`, `normal` or `low`.
        #[arg(long, default_value = "high", value_name = "PRIORITY")]
        priority: String,
        /// The node.
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Plan what is missing or obsolete, of one dataset or of all.
    Backfill {
        /// The dataset; all of them when none is named.
        dataset: Option<String>,
        /// Also compute again what failed for a reason that may have passed.
        #[arg(long)]
        retry_errors: bool,
        /// The node.
        #[command(flatten)]
        node: NodeArgs,
    },
    /// End the work on a dataset; what is stored stays, and maintenance plans what is missing some time later.
    Cancel {
        /// The dataset.
        dataset: String,
        /// The node.
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Print rows of a dataset as a table.
    Rows {
        /// The dataset.
        dataset: String,
        /// The config; the first one when none is named.
        #[arg(long, value_name = "CONFIG")]
        config: Option<String>,
        /// The split; the first one when none is named.
        #[arg(long, value_name = "SPLIT")]
        split: Option<String>,
        /// The first row to print.
        #[arg(long, default_value_t = 0, value_name = "ROW")]
        offset: u64,
        /// Rows to print, at most 100.
        #[arg(long, default_value_t = 10, value_name = "ROWS")]
        length: u64,
        /// URL of the node.
        #[arg(long, env = "OUTPOST_NODE", default_value = DEFAULT_NODE, value_name = "URL")]
        node: String,
    },
}

const DEFAULT_NODE: &str = "http://localhost:8000";

/// Which node an operator's command talks to, and the token that it shows.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// URL of the node.
    #[arg(long, env = "OUTPOST_NODE", default_value = DEFAULT_NODE, value_name = "URL")]
    pub node: String,

    /// The node's admin token.
    ///
    /// Default, for a node on this machine: the one in the file admin-token of the data directory.
    #[arg(long, env = "OUTPOST_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub admin_token: Option<String>,

    /// The node's data directory, to find its admin token.
    #[arg(long, env = "OUTPOST_DATA_DIR", default_value = "./data", value_name = "DIRECTORY")]
    pub data_dir: String,
}
