//! What is queued and what is stored, a bounded page at a time.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use outpost_model::graph::STEPS;
use outpost_model::{DatasetName, ErrorCode, JobStatus, limits};
use outpost_storage::{
    Cursor, EntryReport, JobFilter, LiveJob, Operations, ReportDepth, ReportFilter, StorageError,
};
use serde::Serialize;

use super::AdminApp;
use super::guard::Operator;
use super::params::{AdminError, Query};
use super::wire::{JobItem, JobsByStatus, Keyed, ReportItem, StepStatus};
use super::{X_NEXT_CURSOR, cursor_header};
use crate::clock;
use crate::http::response::json_no_store;

/// `GET /admin/pending-jobs`: live jobs by step and status. `job_type`, `dataset`, `status`, `cursor` are ours.
pub(super) async fn pending_jobs(_: Operator, State(app): State<AdminApp>, query: Query) -> Response<Body> {
    match list_jobs(&*app.admin.operations, &query).await {
        Ok((jobs, next)) => {
            let mut response = json_no_store(StatusCode::OK, &jobs);
            if let Some(next) = next {
                response.headers_mut().insert(X_NEXT_CURSOR, cursor_header(next.as_str()));
            }
            response
        }
        Err(error) => error.into_response(),
    }
}

async fn list_jobs(
    operations: &dyn Operations,
    query: &Query,
) -> Result<(Keyed<JobsByStatus>, Option<Cursor>), AdminError> {
    let filter = JobFilter {
        kind: query.text("job_type").map(str::to_owned),
        dataset: query.dataset()?,
        status: query.status()?,
    };
    let page = operations.jobs(&filter, query.cursor().as_ref(), limits::LISTING_PAGE_MAX).await?;
    let mut jobs = by_step(JobsByStatus::default);
    for job in page.items {
        let of_step = jobs.at(&job.kind, JobsByStatus::default);
        match job.status {
            JobStatus::Waiting => of_step.waiting.push(job.into()),
            JobStatus::Started => of_step.started.push(job.into()),
        }
    }
    Ok((jobs, page.next))
}

#[derive(Serialize)]
struct Blocked {
    blocked_datasets: Vec<String>,
}

/// `GET /admin/blocked-datasets`: those that used more than their budget of worker time.
pub(super) async fn blocked_datasets(_: Operator, State(app): State<AdminApp>) -> Response<Body> {
    match app.admin.operations.blocked(clock::now()).await {
        Ok(blocked_datasets) => json_no_store(StatusCode::OK, &Blocked { blocked_datasets }),
        Err(error) => AdminError::from(error).into_response(),
    }
}

/// `GET /admin/dataset-status`: everything about one dataset, by step.
pub(super) async fn dataset_status(_: Operator, State(app): State<AdminApp>, query: Query) -> Response<Body> {
    let dataset = match query.required_dataset() {
        Ok(dataset) => dataset,
        Err(error) => return error.into_response(),
    };
    match everything_about(&*app.admin.operations, &dataset).await {
        Ok(status) => json_no_store(StatusCode::OK, &status),
        Err(error) => AdminError::from(error).into_response(),
    }
}

async fn everything_about(
    operations: &dyn Operations,
    dataset: &DatasetName,
) -> Result<Keyed<StepStatus>, StorageError> {
    let jobs = jobs_of(operations, dataset).await?;
    Ok(status_of(jobs, entries_of(operations, dataset).await?))
}

/// The live jobs of a dataset, up to a bound.
async fn jobs_of(operations: &dyn Operations, dataset: &DatasetName) -> Result<Vec<LiveJob>, StorageError> {
    let filter = JobFilter { dataset: Some(dataset.clone()), ..JobFilter::default() };
    let (mut jobs, mut after) = (Vec::new(), None);
    for _ in 0..limits::DATASET_STATUS_PAGES_MAX {
        let page = operations.jobs(&filter, after.as_ref(), limits::LISTING_PAGE_MAX).await?;
        jobs.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(jobs)
}

/// The entries of a dataset, up to a bound.
async fn entries_of(
    operations: &dyn Operations,
    dataset: &DatasetName,
) -> Result<Vec<EntryReport>, StorageError> {
    let filter = ReportFilter { kind: None, dataset: Some(dataset.clone()) };
    let (mut reports, mut after) = (Vec::new(), None);
    for _ in 0..limits::DATASET_STATUS_PAGES_MAX {
        let limit = limits::LISTING_PAGE_MAX;
        let page = operations.reports(&filter, ReportDepth::Details, after.as_ref(), limit).await?;
        reports.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(reports)
}

fn status_of(jobs: Vec<LiveJob>, reports: Vec<EntryReport>) -> Keyed<StepStatus> {
    let mut status = by_step(StepStatus::default);
    for report in reports {
        let report = ReportItem::from(report);
        let kind = report.kind().to_owned();
        status.at(&kind, StepStatus::default).cached_responses.push(report);
    }
    for job in jobs {
        let job = JobItem::from(job);
        let kind = job.kind.clone();
        status.at(&kind, StepStatus::default).jobs.push(job);
    }
    status
}

#[derive(Serialize)]
struct CacheReports {
    cache_reports: Vec<ReportItem>,
    next_cursor: String,
}

#[derive(Serialize)]
struct CacheReportsWithContent {
    cache_reports_with_content: Vec<ReportItem>,
    next_cursor: String,
}

/// `GET /admin/cache-reports/{kind}`: entries of a step, without their bodies.
pub(super) async fn cache_reports(
    _: Operator,
    State(app): State<AdminApp>,
    Path(kind): Path<String>,
    query: Query,
) -> Response<Body> {
    let limit = app.admin.pages.reports;
    match reports_of(&app, kind, &query, ReportDepth::Details, limit).await {
        Ok((cache_reports, next_cursor)) => {
            json_no_store(StatusCode::OK, &CacheReports { cache_reports, next_cursor })
        }
        Err(error) => error.into_response(),
    }
}

/// `GET /admin/cache-reports-with-content/{kind}`: the same with bodies.
pub(super) async fn cache_reports_with_content(
    _: Operator,
    State(app): State<AdminApp>,
    Path(kind): Path<String>,
    query: Query,
) -> Response<Body> {
    let limit = app.admin.pages.reports_with_content;
    match reports_of(&app, kind, &query, ReportDepth::Content, limit).await {
        Ok((cache_reports_with_content, next_cursor)) => {
            let body = CacheReportsWithContent { cache_reports_with_content, next_cursor };
            json_no_store(StatusCode::OK, &body)
        }
        Err(error) => error.into_response(),
    }
}

async fn reports_of(
    app: &AdminApp,
    kind: String,
    query: &Query,
    depth: ReportDepth,
    limit: usize,
) -> Result<(Vec<ReportItem>, String), AdminError> {
    let is_ours = STEPS.iter().any(|spec| spec.name == kind);
    let filter = ReportFilter { kind: Some(kind), dataset: query.dataset()? };
    let page = app.admin.operations.reports(&filter, depth, query.cursor().as_ref(), limit).await?;
    // Other programs that share the database store kinds of their own.
    if page.items.is_empty() && page.next.is_none() && !is_ours {
        let names: Vec<&str> = STEPS.iter().map(|spec| spec.name).collect();
        let message =
            format!("There is no such step and nothing of it is stored. Steps: {}", names.join(", "));
        return Err(AdminError::new(ErrorCode::ResponseNotFound, message));
    }
    let next_cursor = page.next.map_or_else(String::new, |next| next.as_str().to_owned());
    Ok((page.items.into_iter().map(ReportItem::from).collect(), next_cursor))
}

/// Every step of ours in the order of the graph; steps of other programs join behind them.
fn by_step<T>(make: impl Fn() -> T) -> Keyed<T> {
    Keyed(STEPS.iter().map(|spec| (spec.name.to_owned(), make())).collect())
}
