//! `GET /rows`: pages of a split, as far as its first rows reach (http-api.md section 5.2, design section 8).

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use outpost_model::StepKind;

use crate::http::App;
use crate::http::error::ApiError;
use crate::http::params::ReadRequest;
use crate::http::ready_cache::View;
use crate::http::response::{Answered, render};

/// Answers with rows `offset..offset + length`.
pub async fn rows(State(app): State<App>, request: ReadRequest) -> Response<Body> {
    let result = read_page(&app, &request).await;
    render(result, request.if_none_match.as_ref(), app.read.max_ages())
}

async fn read_page(app: &App, request: &ReadRequest) -> Result<Answered, ApiError> {
    let target = request.rows_target(StepKind::SplitFirstRows)?;
    let page = request.page()?;
    app.read.read(target, View::Page(page), &request.reader()?).await
}
