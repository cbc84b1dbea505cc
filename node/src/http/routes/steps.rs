//! Endpoints that answer with the artifact of one step as it is stored (http-api.md section 1.2).

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use outpost_model::StepKind;

use crate::http::App;
use crate::http::error::ApiError;
use crate::http::params::{EndpointSteps, ReadRequest};
use crate::http::ready_cache::View;
use crate::http::response::{Answered, render};

const SPLITS: EndpointSteps = EndpointSteps {
    dataset: Some(StepKind::DatasetSplitNames),
    config: Some(StepKind::ConfigSplitNames),
    split: None,
};

const FIRST_ROWS: EndpointSteps =
    EndpointSteps { dataset: None, config: None, split: Some(StepKind::SplitFirstRows) };

const IS_VALID: EndpointSteps = EndpointSteps {
    dataset: Some(StepKind::DatasetIsValid),
    config: Some(StepKind::ConfigIsValid),
    split: Some(StepKind::SplitIsValid),
};

/// `GET /splits`: the splits of a dataset or of one config.
pub async fn splits(State(app): State<App>, request: ReadRequest) -> Response<Body> {
    answer(&app, &request, &SPLITS).await
}

/// `GET /first-rows`: features and first rows of a split.
pub async fn first_rows(State(app): State<App>, request: ReadRequest) -> Response<Body> {
    answer(&app, &request, &FIRST_ROWS).await
}

/// `GET /is-valid`: which features of the viewer a dataset, config or split has.
pub async fn is_valid(State(app): State<App>, request: ReadRequest) -> Response<Body> {
    answer(&app, &request, &IS_VALID).await
}

async fn answer(app: &App, request: &ReadRequest, steps: &EndpointSteps) -> Response<Body> {
    let result = read(app, request, steps).await;
    render(result, request.if_none_match.as_ref(), app.read.max_ages())
}

async fn read(app: &App, request: &ReadRequest, steps: &EndpointSteps) -> Result<Answered, ApiError> {
    let target = request.target(steps)?;
    app.read.read(target, View::Whole, &request.reader()?).await
}
