//! What operators do: compute again, cancel, fill in what is missing. When an answer says `ok`, it is on disk.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use outpost_model::planning::{self, Event};
use outpost_model::{ArtifactKey, DatasetName, ErrorCode, Position, Priority, StepKind};
use outpost_storage::Submitted;
use tokio::sync::mpsc::error::TrySendError;

use super::AdminApp;
use super::BackfillRequest;
use super::guard::Operator;
use super::params::{AdminError, Query};
use super::wire::Done;
use crate::clock;
use crate::http::error::ApiError;
use crate::http::response::{json_no_store, set_position};
use crate::intake::{Cause, Outcome};

type Action = Result<(Done, Option<Position>), AdminError>;

/// `POST /admin/recreate-dataset`: forgets what is stored of a dataset and computes it from its root.
pub(super) async fn recreate_dataset(
    _: Operator,
    State(app): State<AdminApp>,
    query: Query,
) -> Response<Body> {
    answer(recreate(&app, &query).await)
}

async fn recreate(app: &AdminApp, query: &Query) -> Action {
    let dataset = query.required_dataset()?;
    let priority = query.priority(Priority::Low)?;
    let (outcome, submitted) = app.admin.intake.refresh(&dataset, Cause::Operator { priority }).await?;
    served(outcome)?;
    Ok(created(&dataset, submitted))
}

/// `POST /admin/force-refresh/{job_type}`: computes one artifact again at the Hub's current revision.
pub(super) async fn force_refresh(
    _: Operator,
    State(app): State<AdminApp>,
    Path(job_type): Path<String>,
    query: Query,
) -> Response<Body> {
    answer(refresh_one(&app, &job_type, &query).await)
}

async fn refresh_one(app: &AdminApp, job_type: &str, query: &Query) -> Action {
    let Some(kind) = StepKind::from_name(job_type) else {
        return Err(AdminError::new(ErrorCode::ResponseNotFound, format!("There is no step '{job_type}'.")));
    };
    let key = query.artifact(kind)?;
    let priority = query.priority(Priority::Low)?;
    let intake = &app.admin.intake;
    let (outcome, _) = intake.refresh(key.dataset(), Cause::News).await?;
    served(outcome)?;
    let state = intake.authority().state(key.dataset()).await?;
    if !planning::is_listed(key.dataset(), &state, &key) {
        return Err(not_listed(&key));
    }
    let event = Event::Compute { key: key.clone(), priority };
    let submitted = intake.authority().submit(key.dataset(), &event, clock::now()).await?;
    Ok(created(key.dataset(), submitted))
}

fn not_listed(key: &ArtifactKey) -> AdminError {
    let message = format!(
        "No stored listing of '{}' names this config or split. Look at /splits, or recreate the dataset.",
        key.dataset()
    );
    AdminError::new(ErrorCode::ResponseNotFound, message)
}

/// `POST /admin/cancel`: ends the work on a dataset; what is stored stays.
pub(super) async fn cancel(_: Operator, State(app): State<AdminApp>, query: Query) -> Response<Body> {
    let cancelled = async {
        let dataset = query.required_dataset()?;
        let authority = app.admin.intake.authority();
        let state = authority.state(&dataset).await?;
        if state.revision.is_none() && state.jobs.is_empty() {
            return Err(AdminError::unknown_dataset(&dataset));
        }
        let submitted = authority.submit(&dataset, &Event::Cancel, clock::now()).await?;
        tracing::info!(dataset = %dataset, jobs = state.jobs.len(), "cancelled the jobs of dataset {dataset}");
        let done = Done { jobs_cancelled: Some(state.jobs.len()), ..Done::about(&dataset) };
        Ok((done, Some(submitted.position)))
    };
    answer(cancelled.await)
}

/// `POST /admin/backfill`: plans what is missing or obsolete, for one dataset at once or for all in the background.
pub(super) async fn backfill(_: Operator, State(app): State<AdminApp>, query: Query) -> Response<Body> {
    answer(fill_in(&app, &query).await)
}

async fn fill_in(app: &AdminApp, query: &Query) -> Action {
    let retry_errors = query.is_set("retry_errors")?;
    let Some(dataset) = query.dataset()? else {
        return match app.admin.backfill.try_send(BackfillRequest { retry_errors }) {
            // One that waits to begin will see everything that this one would have seen.
            Ok(()) | Err(TrySendError::Full(_)) => Ok((Done::started(), None)),
            Err(TrySendError::Closed(_)) => {
                Err(AdminError::new(ErrorCode::UnexpectedApiError, "This node is shutting down."))
            }
        };
    };
    let authority = app.admin.intake.authority();
    if authority.dataset(&dataset).await?.is_none() {
        return Err(AdminError::unknown_dataset(&dataset));
    }
    let event = Event::Backfill { retry_errors };
    let submitted = authority.submit(&dataset, &event, clock::now()).await?;
    Ok(created(&dataset, submitted))
}

fn created(dataset: &DatasetName, submitted: Submitted) -> (Done, Option<Position>) {
    let done = Done { jobs_created: Some(submitted.jobs_created), ..Done::about(dataset) };
    (done, Some(submitted.position))
}

/// Passes the reason on when the Hub's word is that the dataset is not served.
fn served(outcome: Outcome) -> Result<(), AdminError> {
    let code = match outcome {
        Outcome::Served => return Ok(()),
        Outcome::Withheld => ErrorCode::NotSupportedPrivateRepositoryError,
        Outcome::NotFound => ErrorCode::NotSupportedRepositoryNotFoundError,
        Outcome::Refused(code) => code,
        Outcome::Renamed => return Err(ApiError::renamed().into()),
    };
    Err(ApiError::not_supported(code).into())
}

fn answer(action: Action) -> Response<Body> {
    match action {
        Ok((done, position)) => {
            let mut response = json_no_store(StatusCode::OK, &done);
            if let Some(position) = position {
                set_position(response.headers_mut(), position);
            }
            response
        }
        Err(error) => error.into_response(),
    }
}
