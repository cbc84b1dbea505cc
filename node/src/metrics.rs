//! Prometheus series of a node.
//!
//! Owns the names: dataset-viewer's where it has one (http-api.md section 7.2), `outpost_` ones otherwise. Counting
//! on the read path goes through handles that were resolved at start, so it costs no lookup. What a gauge shows is
//! read when scraped; what cannot be read then is left out.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use outpost_model::{ArtifactKey, ErrorCode};
use outpost_storage::QueueStats;
use outpost_worker::runtime::{JobReport, Observer};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::feed::FeedReading;
use crate::http::routes::admin::wire::ReplicaStatus;

/// Handles of one (method, path).
struct RouteSeries {
    requests: IntCounter,
    in_progress: IntGauge,
    seconds: Histogram,
    ok: IntCounter,
    not_modified: IntCounter,
}

struct PathSeries {
    path: &'static str,
    get: RouteSeries,
    head: RouteSeries,
    post: RouteSeries,
}

/// All series of a node.
pub struct Metrics {
    registry: Registry,
    paths: Vec<PathSeries>,
    responses: IntCounterVec,
    exceptions: IntCounterVec,
    job_seconds: HistogramVec,
    hub_bytes: IntCounter,
    authority_failures: IntCounterVec,
    abandoned_runs: IntCounter,
    running_jobs: IntGauge,
    store: Option<StoreSeries>,
}

/// Series of what is stored, of a node that tells.
struct StoreSeries {
    jobs: IntGaugeVec,
    entries: IntGaugeVec,
    datasets: IntGaugeVec,
    position_seq: IntGauge,
    store_bytes: IntGauge,
    ready_bytes: IntGauge,
    feed: IntGaugeVec,
    replica: IntGaugeVec,
    outbox_entries: IntGaugeVec,
    outbox_bytes: IntGaugeVec,
    outbox_oldest_seconds: IntGaugeVec,
}

/// A request being answered, in progress until dropped; its response is counted by [`Counting::finish`].
pub struct Counting<'a> {
    metrics: &'a Metrics,
    path: &'static str,
    method: &'a Method,
    series: &'a RouteSeries,
}

/// What a scrape shows of the store.
#[derive(Debug, Default)]
pub struct StoreReading {
    /// Counts of the queue and the cache; `None` when they could not be had, which is not zero.
    pub stats: Option<QueueStats>,
    /// Bytes of the data directory.
    pub store_bytes: u64,
    /// Seq of the mirror's position.
    pub position_seq: u64,
    /// Bytes of the ready cache.
    pub ready_bytes: usize,
    /// What fills the mirror.
    pub feed: Option<FeedReading>,
    /// How a replica stands.
    pub replica: Option<ReplicaStatus>,
}

const REQUEST_BUCKETS_S: &[f64] = &[0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];
const JOB_BUCKETS_S: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0];

impl Metrics {
    /// Registers every series; `paths` are the routed ones.
    #[must_use]
    pub fn new(paths: &[&'static str]) -> Arc<Self> {
        let registry = Registry::new();
        let store = StoreSeries::new(&registry);
        Self::over(registry, paths, Some(store))
    }

    /// Registers the series of a process that computes and serves no readers.
    #[must_use]
    pub fn of_worker(paths: &[&'static str]) -> Arc<Self> {
        Self::over(Registry::new(), paths, None)
    }

    fn over(registry: Registry, paths: &[&'static str], store: Option<StoreSeries>) -> Arc<Self> {
        let counter = |name, help| register(&registry, IntCounter::new(name, help));
        let gauge = |name, help| register(&registry, IntGauge::new(name, help));
        let responses = counters(
            &registry,
            "starlette_responses_total",
            "Responses sent.",
            &["method", "path_template", "status_code"],
        );
        let exceptions = counters(
            &registry,
            "starlette_exceptions_total",
            "Requests whose handler failed.",
            &["method", "path_template", "exception_type"],
        );
        let job_seconds = histograms(
            &registry,
            "outpost_job_seconds",
            "Duration of runs.",
            JOB_BUCKETS_S,
            &["kind", "outcome", "error_code"],
        );
        let authority_failures = counters(
            &registry,
            "outpost_authority_failures_total",
            "Calls of workers to the authority that failed.",
            &["call"],
        );
        Arc::new(Self {
            paths: path_series(&registry, &responses, paths),
            responses,
            exceptions,
            job_seconds,
            hub_bytes: counter("outpost_hub_read_bytes_total", "Bytes that jobs read from the Hub."),
            authority_failures,
            abandoned_runs: counter("outpost_abandoned_runs_total", "Runs that ignored their cancellation."),
            running_jobs: gauge("outpost_running_jobs", "Jobs that this process runs now."),
            store,
            registry,
        })
    }

    /// Counts the start of a request; `None` for paths that are not routed, which are not counted.
    #[must_use]
    pub fn start<'a>(&'a self, method: &'a Method, path: &str) -> Option<Counting<'a>> {
        let found = self.paths.iter().find(|series| series.path == path)?;
        let series = match *method {
            Method::GET => &found.get,
            Method::HEAD => &found.head,
            Method::POST => &found.post,
            _ => return None,
        };
        series.requests.inc();
        series.in_progress.inc();
        Some(Counting { metrics: self, path: found.path, method, series })
    }

    /// Says how many jobs run now.
    pub fn set_running_jobs(&self, jobs: usize) {
        self.running_jobs.set(gauge(jobs as u64));
    }

    /// The exposition text, format 0.0.4.
    #[must_use]
    pub fn render(&self, reading: Option<&StoreReading>) -> Vec<u8> {
        if let (Some(store), Some(reading)) = (&self.store, reading) {
            store.set(reading);
        }
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "failed to encode metrics");
        }
        text
    }
}

impl StoreSeries {
    fn new(registry: &Registry) -> Self {
        let gauge = |name, help| register(registry, IntGauge::new(name, help));
        Self {
            jobs: gauges(registry, "queue_jobs_total", "Live jobs.", &["queue", "status", "dataset_status"]),
            entries: gauges(
                registry,
                "responses_in_cache_total",
                "Stored responses.",
                &["kind", "http_status"],
            ),
            datasets: gauges(registry, "outpost_datasets", "Datasets with a record.", &[]),
            position_seq: gauge("outpost_position_seq", "Seq of the position that the mirror stands at."),
            store_bytes: gauge("outpost_store_bytes", "Size of the data directory in bytes."),
            ready_bytes: gauge("outpost_ready_cache_bytes", "Bytes of the ready responses in memory."),
            feed: gauges(registry, "outpost_feed", "What fills the mirror, by figure.", &["figure"]),
            replica: gauges(registry, "outpost_replica", "How a replica stands, by figure.", &["figure"]),
            outbox_entries: gauges(
                registry,
                "outpost_outbox_entries",
                "Webhooks that wait for the primary.",
                &[],
            ),
            outbox_bytes: gauges(registry, "outpost_outbox_bytes", "Bytes of webhooks that wait.", &[]),
            outbox_oldest_seconds: gauges(
                registry,
                "outpost_outbox_oldest_seconds",
                "How long the oldest webhook waits.",
                &[],
            ),
        }
    }

    fn set(&self, reading: &StoreReading) {
        self.set_stats(reading.stats.as_ref());
        self.position_seq.set(gauge(reading.position_seq));
        self.store_bytes.set(gauge(reading.store_bytes));
        self.ready_bytes.set(gauge(reading.ready_bytes as u64));
        self.feed.reset();
        for (figure, value) in reading.feed.iter().flat_map(FeedReading::figures) {
            self.feed.with_label_values(&[figure]).set(gauge(value));
        }
        self.set_replica(reading.replica.as_ref());
    }

    /// Shows what is known of a replica; what is not, or on another node, has no series.
    fn set_replica(&self, replica: Option<&ReplicaStatus>) {
        let series = [&self.replica, &self.outbox_entries, &self.outbox_bytes, &self.outbox_oldest_seconds];
        series.iter().for_each(|series| series.reset());
        let Some(replica) = replica else { return };
        for (figure, value) in replica.figures() {
            self.replica.with_label_values(&[figure]).set(gauge(value));
        }
        const NO_LABELS: &[&str] = &[];
        let outbox = &replica.outbox;
        self.outbox_entries.with_label_values(NO_LABELS).set(gauge(outbox.webhooks));
        self.outbox_bytes.with_label_values(NO_LABELS).set(gauge(outbox.bytes));
        if let Some(age_ms) = outbox.oldest_age_ms {
            self.outbox_oldest_seconds.with_label_values(NO_LABELS).set(gauge(age_ms / 1_000));
        }
    }
}

impl StoreSeries {
    /// Shows counts, or no series of theirs.
    fn set_stats(&self, stats: Option<&QueueStats>) {
        self.jobs.reset();
        self.entries.reset();
        self.datasets.reset();
        let Some(stats) = stats else { return };
        for (kind, waiting, started) in &stats.jobs {
            for (status, count) in [("waiting", waiting), ("started", started)] {
                self.jobs.with_label_values(&[kind.as_str(), status, "normal"]).set(gauge(*count));
            }
        }
        for (kind, status, count) in &stats.entries {
            self.entries.with_label_values(&[kind.as_str(), &status.to_string()]).set(gauge(*count));
        }
        self.datasets.with_label_values(&[] as &[&str]).set(gauge(stats.datasets));
    }
}

impl Observer for Metrics {
    fn job_ended(&self, report: &JobReport) {
        let error_code = report.outcome.error_code().map_or("None", ErrorCode::as_str);
        let labels = [report.key.kind().as_str(), report.outcome.as_str(), error_code];
        self.job_seconds.with_label_values(&labels).observe(report.duration_ms as f64 / 1_000.0);
        self.hub_bytes.inc_by(report.bytes_read);
    }

    fn authority_failed(&self, call: &'static str) {
        self.authority_failures.with_label_values(&[call]).inc();
    }

    fn run_abandoned(&self, _key: &ArtifactKey) {
        self.abandoned_runs.inc();
    }
}

impl Counting<'_> {
    /// Counts the response.
    pub fn finish(&self, status: StatusCode, elapsed: Duration) {
        self.series.seconds.observe(elapsed.as_secs_f64());
        match status {
            StatusCode::OK => self.series.ok.inc(),
            StatusCode::NOT_MODIFIED => self.series.not_modified.inc(),
            other => {
                let labels = [self.method.as_str(), self.path, other.as_str()];
                self.metrics.responses.with_label_values(&labels).inc();
            }
        }
    }

    /// Counts a handler that panicked.
    pub fn panicked(&self) {
        self.metrics.exceptions.with_label_values(&[self.method.as_str(), self.path, "panic"]).inc();
    }
}

/// The series of each path, resolved once.
fn path_series(registry: &Registry, responses: &IntCounterVec, paths: &[&'static str]) -> Vec<PathSeries> {
    let labels = ["method", "path_template"];
    let requests = counters(registry, "starlette_requests_total", "Requests received.", &labels);
    let in_progress = gauges(registry, "starlette_requests_in_progress", "Requests being answered.", &labels);
    let seconds = histograms(
        registry,
        "starlette_requests_processing_time_seconds",
        "Time to answer a request.",
        REQUEST_BUCKETS_S,
        &labels,
    );
    let series = |method: &str, path: &str| RouteSeries {
        requests: requests.with_label_values(&[method, path]),
        in_progress: in_progress.with_label_values(&[method, path]),
        seconds: seconds.with_label_values(&[method, path]),
        ok: responses.with_label_values(&[method, path, "200"]),
        not_modified: responses.with_label_values(&[method, path, "304"]),
    };
    let of_path = |&path: &&'static str| PathSeries {
        path,
        get: series("GET", path),
        head: series("HEAD", path),
        post: series("POST", path),
    };
    paths.iter().map(of_path).collect()
}

/// Also when the client went away before there was a response.
impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.series.in_progress.dec();
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn register<C>(registry: &Registry, collector: prometheus::Result<C>) -> C
where
    C: prometheus::core::Collector + Clone + 'static,
{
    let collector = collector.expect("names and labels are constants that follow the rules");
    registry.register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

fn histograms(registry: &Registry, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(options, labels))
}
