//! The stub's routes: who may see what, and the API's answers.
//!
//! Routes by hand, because dataset ids have one or two parts and paths hold encoded slashes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, Request};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use outpost_hub::Hub;
use outpost_model::{DatasetName, Revision, Visibility};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::answers::Answer;
use super::faults::Fault;
use super::{DatasetKnobs, Host, Seen, State, files, lock};

const INVALID_CREDENTIALS: &str = "Invalid credentials in Authorization header";

/// Meets gates and faults, answers, logs.
pub(super) async fn handle(state: Arc<State>, host: Host, request: Request) -> Response {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    state.faults.pass_gates(uri.path()).await;
    let fault = state.faults.take(uri.path());
    let answer = match &fault {
        Some(Fault::Answer { status, headers, body }) => {
            Answer { status: *status, headers: headers.clone(), body: body.clone() }
        }
        Some(Fault::EndlessPages) => endless_page(&state, &uri),
        Some(Fault::CutAfter(_)) | None => match host {
            Host::Hub => answer(&state, &method, &uri, &headers).await,
            Host::Cdn => files::from_cdn(&state, &uri, &headers).await,
        },
    };
    let body_bytes = match (&fault, method == Method::HEAD) {
        (_, true) => 0,
        (Some(Fault::CutAfter(bytes)), _) => answer.body.len().min(*bytes),
        _ => answer.body.len(),
    };
    state.log(seen(host, &method, &uri, &headers, &answer, body_bytes));
    match fault {
        Some(Fault::CutAfter(bytes)) => answer.into_cut_response(bytes),
        _ => answer.into_response(),
    }
}

fn seen(
    host: Host,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    answer: &Answer,
    body_bytes: usize,
) -> Seen {
    Seen {
        host,
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        authorization: header(headers, "authorization").map(str::to_owned),
        range: header(headers, "range").map(str::to_owned),
        user_agent: header(headers, "user-agent").map(str::to_owned),
        status: answer.status,
        body_bytes: body_bytes as u64,
    }
}

/// A header as text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Who asks.
pub(super) struct Caller {
    token: Option<String>,
    account: Option<String>,
}

impl Caller {
    fn of(state: &State, headers: &HeaderMap) -> Self {
        let token =
            header(headers, "authorization").map(|value| value.trim_start_matches("Bearer ").to_owned());
        let account = token.as_ref().and_then(|token| lock(&state.settings).accounts.get(token).cloned());
        Self { token, account }
    }

    fn has_bad_token(&self) -> bool {
        self.token.is_some() && self.account.is_none()
    }

    /// What a dataset that the caller must not see looks like.
    fn not_found(&self) -> Answer {
        let status = if self.token.is_some() { 404 } else { 401 };
        Answer::error(status, "RepoNotFound", "Repository not found")
    }

    fn may_read(&self, knobs: &DatasetKnobs) -> bool {
        let is_reader = self.token.as_ref().is_some_and(|token| knobs.readers.contains(token));
        knobs.visibility == Visibility::Public || is_reader
    }

    /// The answer that keeps the caller out of a dataset's files, if any. Info and list of a gated dataset are public.
    fn refusal(&self, knobs: &DatasetKnobs, what: What) -> Option<Answer> {
        if knobs.visibility == Visibility::Private && !self.may_read(knobs) {
            return Some(self.not_found());
        }
        if knobs.disabled && what != What::Metadata {
            return Some(Answer::error(403, "", "Access to this resource is disabled."));
        }
        if what != What::Metadata && !self.may_read(knobs) {
            let status = if self.token.is_some() { 403 } else { 401 };
            return Some(Answer::error(status, "GatedRepo", "Access to this dataset is restricted."));
        }
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Metadata,
    Content,
}

async fn answer(state: &State, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
    let caller = Caller::of(state, headers);
    if caller.has_bad_token() {
        return Answer::error(401, "", INVALID_CREDENTIALS);
    }
    let decoded: Vec<String> = uri.path().split('/').skip(1).map(decode).collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let query = query(uri);
    match parts.as_slice() {
        ["api", "whoami-v2"] => whoami(&caller),
        ["api", "datasets"] => list(state, &caller, &query).await,
        ["api", "datasets", id @ ..] => {
            let (dataset, rest) = match id {
                [namespace, name, rest @ ..] => (format!("{namespace}/{name}"), rest),
                _ => return caller.not_found(),
            };
            if let Some(redirect) = renamed(state, uri, &dataset) {
                return redirect;
            }
            about(state, &caller, &dataset, rest, &query).await
        }
        ["datasets", namespace, name, "resolve", revision, path @ ..] => {
            let dataset = format!("{namespace}/{name}");
            if let Some(redirect) = renamed(state, uri, &dataset) {
                return redirect;
            }
            let knobs = state.knobs(&dataset);
            let refusal = caller.refusal(&knobs, What::Content);
            match (refusal, names(&dataset, revision)) {
                (Some(refusal), _) => refusal,
                (None, None) => caller.not_found(),
                (None, Some((dataset, revision))) => {
                    files::resolve(state, method, headers, &dataset, &revision, &path.join("/")).await
                }
            }
        }
        _ => Answer::error(404, "", "Not found"),
    }
}

/// `/api/datasets/{id}` and what is below it.
async fn about(
    state: &State,
    caller: &Caller,
    dataset: &str,
    rest: &[&str],
    query: &HashMap<String, String>,
) -> Answer {
    let knobs = state.knobs(dataset);
    let what = if matches!(rest, ["auth-check"]) { What::Content } else { What::Metadata };
    if let Some(refusal) = caller.refusal(&knobs, what) {
        return refusal;
    }
    let Ok(name) = DatasetName::new(dataset) else { return caller.not_found() };
    let revision = rest.get(1).and_then(|text| Revision::new(text).ok());
    let info = match (rest, &revision) {
        (["revision" | "tree", ..], None) => return Answer::error(404, "RevisionNotFound", "Invalid rev id"),
        (["revision" | "tree", ..], Some(_)) => state.folder.repo_info(&name, revision.as_ref()).await,
        _ => state.folder.repo_info(&name, None).await,
    };
    let info = match info {
        Ok(info) => info,
        Err(outpost_hub::HubError::RepoNotFound(_)) => return caller.not_found(),
        Err(error) => return error.into(),
    };
    match rest {
        [] | ["revision", _] => Answer::json(&info_json(&info, &knobs)),
        ["auth-check"] => Answer::json(&json!({})),
        ["tree", _, folder @ ..] => {
            files::tree(state, &name, &info.revision, rest, &folder.join("/"), query).await
        }
        _ => Answer::error(404, "", "Not found"),
    }
}

fn info_json(info: &outpost_hub::RepoInfo, knobs: &DatasetKnobs) -> Value {
    let viewer = knobs.viewer.or(info.viewer_disabled.then_some(false));
    let card = viewer.map_or_else(|| json!({}), |viewer| json!({ "viewer": viewer }));
    json!({
        "id": info.dataset.as_str(),
        "author": info.dataset.namespace(),
        "sha": info.revision.as_str(),
        "private": knobs.visibility == Visibility::Private,
        "gated": if knobs.visibility == Visibility::Gated { json!("auto") } else { json!(false) },
        "disabled": knobs.disabled,
        "tags": knobs.tags,
        "cardData": card,
    })
}

async fn list(state: &State, caller: &Caller, query: &HashMap<String, String>) -> Answer {
    let names = match state.folder.list_datasets(usize::MAX).await {
        Ok(names) => names,
        Err(error) => return error.into(),
    };
    let listed = names.iter().filter_map(|name| {
        let knobs = state.knobs(name.as_str());
        let is_private = knobs.visibility == Visibility::Private;
        let is_seen = !is_private || caller.may_read(&knobs);
        is_seen.then(|| json!({ "id": name.as_str(), "private": is_private, "tags": knobs.tags }))
    });
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    files::page(state, "/api/datasets", &listed.collect::<Vec<_>>(), limit, query)
}

fn whoami(caller: &Caller) -> Answer {
    match &caller.account {
        Some(name) => Answer::json(&json!({ "type": "user", "name": name })),
        None => Answer::error(401, "", "Invalid username or password."),
    }
}

fn renamed(state: &State, uri: &Uri, dataset: &str) -> Option<Answer> {
    let new = state.knobs(dataset).renamed_to?;
    let path = uri.path_and_query()?.as_str().replacen(dataset, &new, 1);
    Some(Answer::redirect(307, path))
}

fn endless_page(state: &State, uri: &Uri) -> Answer {
    let asked: u64 = query(uri).get("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or_default();
    let next = format!("<http://{}{}?cursor={}>; rel=\"next\"", state.hub, uri.path(), asked + 1);
    Answer::json(&json!([])).with("link", next)
}

/// Dataset and revision of a URL, checked.
pub(super) fn names(dataset: &str, revision: &str) -> Option<(DatasetName, Revision)> {
    Some((DatasetName::new(dataset).ok()?, Revision::new(revision).ok()?))
}

pub(super) fn query(uri: &Uri) -> HashMap<String, String> {
    Query::try_from_uri(uri).map(|Query(query)| query).unwrap_or_default()
}

pub(super) fn decode(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}
