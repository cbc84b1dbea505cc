//! The command line: what can be typed, in the field's words.
//!
//! Owns the options of design section 2 and their `--help`. Each option also reads `OUTPOST_` + its upper-case name.
//! What the values mean together is `config`'s business.

#![expect(
    rustdoc::broken_intra_doc_links,
    rustdoc::bare_urls,
    reason = "the option docs are shown by --help as they are written"
)]

use clap::{Parser, Subcommand};

/// The dataset viewer at the edge.
///
/// Lists the configs and splits of Hugging Face datasets, computes the first
/// 100 rows of each split ahead of time, and serves them with low latency.
///
/// Today a node runs as a primary with its embedded store, over the Hub or
/// over a folder that stands in for it:
///
///   node --hub ./my-datasets    serve a folder laid out as NAMESPACE/NAME/files
///   node                        serve public datasets of the Hub, on demand and
///                               by webhook
#[derive(Debug, Clone, Parser)]
#[command(name = "node", version, max_term_width = 110, verbatim_doc_comment)]
pub struct Cli {
    /// A client command; without one the node runs in its role.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What the node does: `primary` computes and serves. `worker` (computes for a primary elsewhere) and `replica`
    /// (serves a copy close to the readers) are not built yet.
    #[arg(long, env = "OUTPOST_ROLE", default_value = "primary", value_name = "ROLE")]
    pub role: String,

    /// Address of the public HTTP API.
    ///
    /// Default: [::]:8000, falling back to 0.0.0.0:8000 where there is no IPv6.
    #[arg(long, env = "OUTPOST_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// What the asset URLs in responses start with; in production the host name that readers use.
    ///
    /// Default: http://localhost:PORT.
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

    /// Where cache and job queue live: `embedded` in the data directory. A mongodb:// URL (a database shared with
    /// dataset-viewer) is not built yet.
    #[arg(
        long,
        env = "OUTPOST_STORE",
        default_value = "embedded",
        hide_env_values = true,
        value_name = "embedded|URL"
    )]
    pub store: String,

    /// Where workers put assets such as images: a folder, or s3://BUCKET/PREFIX. Nodes with the same --store may share
    /// it; others need a folder or a prefix of their own. A bucket is reached by the variables AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true for an http:// endpoint.
    ///
    /// Default: under the data directory, for this node alone.
    #[arg(long, env = "OUTPOST_ASSETS", value_name = "FOLDER|s3://BUCKET/PREFIX")]
    pub assets: Option<String>,

    /// In-process workers per queue; `0` for none. The queue `datasets` lists configs and splits, `splits` computes
    /// rows.
    ///
    /// Default: datasets=1,splits=2.
    #[arg(long, env = "OUTPOST_WORKERS", value_name = "QUEUE=N,...")]
    pub workers: Option<String>,

    /// Worker role: the queues to take jobs from, `datasets` or `splits` or both.
    #[arg(long, env = "OUTPOST_QUEUE", value_delimiter = ',', value_name = "QUEUE")]
    pub queue: Vec<String>,

    /// Replica role: the sync listeners to follow, in order of preference.
    #[arg(long, env = "OUTPOST_UPSTREAM", value_delimiter = ',', value_name = "URL")]
    pub upstream: Vec<String>,

    /// Address of the listener for other nodes. Not built yet.
    #[arg(long, env = "OUTPOST_SYNC_LISTEN", value_name = "ADDRESS:PORT")]
    pub sync_listen: Option<String>,

    /// Secret shared between the nodes.
    #[arg(long, env = "OUTPOST_SYNC_TOKEN", hide_env_values = true, value_name = "SECRET")]
    pub sync_token: Option<String>,

    /// Expected in the X-Webhook-Secret header of the Hub's webhooks; without one every webhook is refused. Also read
    /// from API_HF_WEBHOOK_SECRET.
    #[arg(long, env = "OUTPOST_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub webhook_secret: Option<String>,

    /// Replica role: when staler than this, the node is not ready and each response says how old it may be.
    #[arg(long, env = "OUTPOST_MAX_STALENESS", default_value = "60s", value_name = "DURATION")]
    pub max_staleness: String,

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
    /// Start a primary on sample datasets plus a replica (not built yet).
    Demo,
    /// Show what a running node does (not built yet).
    Status,
    /// Compute a dataset again (not built yet).
    Refresh {
        /// The dataset.
        dataset: String,
    },
    /// Print rows of a dataset (not built yet).
    Rows {
        /// The dataset.
        dataset: String,
    },
}

impl Command {
    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Status => "status",
            Self::Refresh { .. } => "refresh",
            Self::Rows { .. } => "rows",
        }
    }
}
