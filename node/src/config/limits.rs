//! Limits and guards that operators set, under dataset-viewer's names.

use std::time::Duration;

use outpost_model::limits::{self, FirstRowsLimits, NamesLimits};

use super::values::{ConfigError, Environment};
use crate::http::routes::admin::AdminPages;

/// The limits that operators set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `FIRST_ROWS_*`.
    pub first_rows: FirstRowsLimits,
    /// `CONFIG_NAMES_MAX_NUMBER`, `SPLIT_NAMES_MAX_NUMBER`.
    pub names: NamesLimits,
    /// `WORKER_MAX_JOB_DURATION_SECONDS`.
    pub job_duration_ms_max: u64,
    /// `API_MAX_AGE_LONG`: seconds that successes may be stored.
    pub max_age_long_s: u64,
    /// `API_MAX_AGE_SHORT`: seconds that errors may be stored.
    pub max_age_short_s: u64,
    /// `API_HF_TIMEOUT_SECONDS`: how long a reader waits for the Hub.
    pub hub_wait: Duration,
    /// `ADMIN_CACHE_REPORTS_NUM_RESULTS`, `ADMIN_CACHE_REPORTS_WITH_CONTENT_NUM_RESULTS`.
    pub admin_pages: AdminPages,
}

impl Limits {
    pub(super) fn resolve(environment: &Environment<'_>) -> Result<Self, ConfigError> {
        let first_rows = FirstRowsLimits::default();
        let names = NamesLimits::default();
        let pages = AdminPages::default();
        let hub_wait_s =
            environment.seconds("API_HF_TIMEOUT_SECONDS", limits::HUB_LOOKUP_WAIT_MS as f64 / 1e3)?;
        let job_s = limits::JOB_DURATION_MS_MAX / 1_000;
        Ok(Self {
            first_rows: FirstRowsLimits {
                bytes_max: environment.count("FIRST_ROWS_MAX_BYTES", first_rows.bytes_max)?,
                cell_bytes_min: environment.count("FIRST_ROWS_MIN_CELL_BYTES", first_rows.cell_bytes_min)?,
                rows_min: environment.count("FIRST_ROWS_MIN_NUMBER", first_rows.rows_min)?,
                columns_max: environment.count("FIRST_ROWS_COLUMNS_MAX_NUMBER", first_rows.columns_max)?,
            },
            names: NamesLimits {
                configs_max: environment.count("CONFIG_NAMES_MAX_NUMBER", names.configs_max)?,
                splits_max: environment.count("SPLIT_NAMES_MAX_NUMBER", names.splits_max)?,
            },
            job_duration_ms_max: 1_000 * environment.count("WORKER_MAX_JOB_DURATION_SECONDS", job_s)?,
            max_age_long_s: environment.count("API_MAX_AGE_LONG", 120)?,
            max_age_short_s: environment.count("API_MAX_AGE_SHORT", 10)?,
            hub_wait: Duration::from_secs_f64(hub_wait_s),
            admin_pages: AdminPages {
                reports: environment.count("ADMIN_CACHE_REPORTS_NUM_RESULTS", pages.reports)?,
                reports_with_content: environment
                    .count("ADMIN_CACHE_REPORTS_WITH_CONTENT_NUM_RESULTS", pages.reports_with_content)?,
            },
        })
    }
}

/// When the machine counts as busy, in per cent; `None` for a guard that is off (worker-and-store.md section 2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Guards {
    /// `WORKER_MAX_MEMORY_PCT`: memory of the container.
    pub memory_pct_max: Option<f64>,
    /// `WORKER_MAX_SYSTEM_MEMORY_PCT`: memory and swap of the machine.
    pub system_memory_pct_max: Option<f64>,
    /// `WORKER_MAX_LOAD_PCT`: runnable tasks per CPU.
    pub load_pct_max: Option<f64>,
}

impl Guards {
    /// The variables, with a default for the two of memory; the guard of the load is off unless it is asked for.
    pub(super) fn resolve(environment: &Environment<'_>, memory_pct: f64) -> Result<Self, ConfigError> {
        let guard = |name: &str, default: f64| {
            environment.percent(name, default).map(|pct| (pct > 0.0).then_some(pct))
        };
        Ok(Self {
            memory_pct_max: guard("WORKER_MAX_MEMORY_PCT", memory_pct)?,
            system_memory_pct_max: guard("WORKER_MAX_SYSTEM_MEMORY_PCT", memory_pct)?,
            load_pct_max: guard("WORKER_MAX_LOAD_PCT", 0.0)?,
        })
    }
}
