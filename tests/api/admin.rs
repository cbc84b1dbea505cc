//! `/admin/*` (http-api.md section 7.3).

use axum::http::Method;
use outpost_hub::HubError;
use outpost_model::{ErrorCode, Queue};
use outpost_node::http::routes::admin::BackfillRequest;
use outpost_storage::Authority;
use serde_json::{Value, json};

use crate::fixture::{ADMIN_TOKEN, Api, NOW, Reply, Scripted, complete, dataset, event, first_rows, public};

impl Api {
    async fn operator(&self, method: Method, uri: &str) -> Reply {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        self.request(method, uri, &[("authorization", &bearer)], "").await
    }

    async fn admin_get(&self, uri: &str) -> Value {
        let reply = self.operator(Method::GET, uri).await;
        assert_eq!(reply.status, 200, "{uri}: {}", reply.text());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        reply.json()
    }

    async fn admin_post(&self, uri: &str) -> Value {
        let reply = self.operator(Method::POST, uri).await;
        assert_eq!(reply.status, 200, "{uri}: {}", reply.text());
        reply.json()
    }
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.header("x-error-code")),
        (status, Some(code)),
        "{}",
        reply.text()
    );
    assert!(reply.json()["error"].is_string());
}

const PATHS: [(Method, &str); 10] = [
    (Method::GET, "/admin/status"),
    (Method::GET, "/admin/blocked-datasets"),
    (Method::GET, "/admin/pending-jobs"),
    (Method::GET, "/admin/dataset-status?dataset=u/d"),
    (Method::GET, "/admin/cache-reports/split-first-rows"),
    (Method::GET, "/admin/cache-reports-with-content/split-first-rows"),
    (Method::POST, "/admin/recreate-dataset?dataset=u/d"),
    (Method::POST, "/admin/force-refresh/dataset-config-names?dataset=u/d"),
    (Method::POST, "/admin/cancel?dataset=u/d"),
    (Method::POST, "/admin/backfill?dataset=u/d"),
];

#[tokio::test]
async fn nothing_is_shown_or_done_without_the_token() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let calls = api.hub.calls();
    let wrong = format!("Bearer {ADMIN_TOKEN}x");
    for (method, path) in PATHS {
        for headers in [&[][..], &[("authorization", wrong.as_str())], &[("authorization", "Bearer ")]] {
            let reply = api.request(method.clone(), path, headers, "").await;
            assert_refused(&reply, 401, "ExternalUnauthenticatedError");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
        assert_eq!(api.operator(method, path).await.status, 200, "{path}");
    }
    // The two refreshes of the operator asked the Hub, none of the refused ones.
    assert_eq!(api.hub.calls(), calls + 2);
}

#[tokio::test]
async fn no_dataset_is_blocked_that_kept_within_its_budget() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let blocked = api.admin_get("/admin/blocked-datasets").await;
    assert_eq!(blocked, serde_json::json!({"blocked_datasets": []}));
}

#[tokio::test]
async fn a_wrong_method_or_path_is_refused_as_everywhere() {
    let api = Api::start().await;
    assert_eq!(api.operator(Method::GET, "/admin/cancel?dataset=u/d").await.status, 405);
    assert_eq!(api.operator(Method::POST, "/admin/status").await.status, 405);
    assert_eq!(api.operator(Method::GET, "/admin").await.status, 404);
    assert_eq!(api.operator(Method::GET, "/admin/cache-reports/").await.status, 404);
}

#[tokio::test]
async fn pending_jobs_are_listed_by_step_and_status() {
    let api = Api::start().await;
    for name in ["u/d", "u/e"] {
        api.hub.set(name, Ok(public(name)));
        api.webhook(&event("add", name)).await;
    }
    api.store.claim(&Queue::ALL, NOW).await.unwrap().unwrap();
    let jobs = api.admin_get("/admin/pending-jobs").await;
    let of_root = &jobs["dataset-config-names"];
    let names = |status: &str| -> Vec<&str> {
        of_root[status].as_array().unwrap().iter().map(|job| job["dataset"].as_str().unwrap()).collect()
    };
    assert_eq!((names("started"), names("waiting")), (vec!["u/d"], vec!["u/e"]));
    let job = &of_root["waiting"][0];
    assert_eq!(job["unicity_id"], json!(format!("dataset-config-names,u/e,{}", crate::fixture::REVISION)));
    assert_eq!(
        (&job["namespace"], &job["priority"], &job["started_at"]),
        (&json!("u"), &json!("normal"), &Value::Null)
    );
    assert_eq!(jobs["split-first-rows"], json!({"waiting": [], "started": []}));
    for (query, count) in [
        ("status=started", 1),
        ("dataset=u/e", 1),
        ("dataset=u/e&status=started", 0),
        ("job_type=dataset-config-names", 2),
        ("job_type=split-first-rows", 0),
    ] {
        let jobs = api.admin_get(&format!("/admin/pending-jobs?{query}")).await;
        let of_root = &jobs["dataset-config-names"];
        let listed = ["waiting", "started"].map(|status| of_root[status].as_array().unwrap().len());
        assert_eq!(listed.iter().sum::<usize>(), count, "{query}");
    }
    let reply = api.operator(Method::GET, "/admin/pending-jobs?status=done").await;
    assert_refused(&reply, 422, "InvalidParameter");
}

#[tokio::test]
async fn cache_reports_go_on_after_a_cursor() {
    let api = Api::start().await;
    for name in ["u/a", "u/b", "u/c"] {
        api.hub.set(name, Ok(public(name)));
        api.webhook(&event("add", name)).await;
    }
    api.compute(|key| complete(key, &first_rows(1, 1, false))).await;
    let (mut datasets, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.admin_get(&format!("/admin/cache-reports/split-first-rows?cursor={cursor}")).await;
        for report in page["cache_reports"].as_array().unwrap() {
            assert!(report.get("content").is_none());
            datasets.push(report["dataset"].as_str().unwrap().to_owned());
        }
        cursor = page["next_cursor"].as_str().unwrap().to_owned();
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(datasets, ["u/a", "u/b", "u/c"]);
    let reply = api.operator(Method::GET, "/admin/cache-reports/split-first-rows?cursor=nonsense").await;
    assert_refused(&reply, 422, "InvalidParameter");
    assert_eq!(reply.json()["error"], "Invalid cursor.");
    let reply = api.operator(Method::GET, "/admin/cache-reports/no-such-step").await;
    assert_refused(&reply, 404, "ResponseNotFound");
}

#[tokio::test]
async fn a_report_has_the_fields_of_the_original_and_its_content_only_on_request() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    api.webhook(&event("add", "u/d")).await;
    api.compute(|_| Scripted {
        error: Some(ErrorCode::EmptyDatasetError),
        body: r#"{"error":"nothing here"}"#.to_owned(),
        names: Vec::new(),
    })
    .await;
    let page = api.admin_get("/admin/cache-reports/dataset-config-names").await;
    assert_eq!(
        page["cache_reports"][0],
        json!({
            "kind": "dataset-config-names", "dataset": "u/d", "config": null, "split": null, "http_status": 500,
            "error_code": "EmptyDatasetError", "details": null, "updated_at": "2027-01-15T08:00:00",
            "job_runner_version": 1, "dataset_git_revision": crate::fixture::REVISION, "progress": null,
            "failed_runs": 1, "duration": 0.001,
        })
    );
    let page = api.admin_get("/admin/cache-reports-with-content/dataset-config-names").await;
    assert_eq!(page["cache_reports_with_content"][0]["content"], json!({"error": "nothing here"}));
}

#[tokio::test]
async fn the_status_of_a_dataset_has_its_entries_and_jobs_by_step() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let done =
        api.admin_post("/admin/force-refresh/split-first-rows?dataset=u/d&config=default&split=train").await;
    assert_eq!(done, json!({"status": "ok", "dataset": "u/d", "jobs_created": 1}));
    let status = api.admin_get("/admin/dataset-status?dataset=u/d").await;
    let of_rows = &status["split-first-rows"];
    assert_eq!(of_rows["cached_responses"].as_array().unwrap().len(), 1);
    assert_eq!(of_rows["jobs"][0]["priority"], "low");
    assert_eq!(status["dataset-config-names"]["jobs"], json!([]));
    let unknown = api.admin_get("/admin/dataset-status?dataset=u/nothing").await;
    assert_eq!(unknown["dataset-config-names"], json!({"cached_responses": [], "jobs": []}));
    let reply = api.operator(Method::GET, "/admin/dataset-status").await;
    assert_refused(&reply, 422, "MissingRequiredParameter");
}

#[tokio::test]
async fn a_recreated_dataset_starts_over_at_the_given_priority() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    let done = api.admin_post("/admin/recreate-dataset?dataset=u/d&priority=high").await;
    assert_eq!(done, json!({"status": "ok", "dataset": "u/d", "jobs_created": 1}));
    let state = api.store.state(&dataset("u/d")).await.unwrap();
    assert_eq!((state.entries.len(), state.jobs.len()), (0, 1));
    assert_eq!(state.jobs[0].priority.as_str(), "high");
    let reply = api.operator(Method::POST, "/admin/recreate-dataset?dataset=u/d&priority=urgent").await;
    assert_refused(&reply, 422, "InvalidParameter");
}

#[tokio::test]
async fn what_the_hub_does_not_serve_is_not_refreshed() {
    let api = Api::start().await;
    for path in ["recreate-dataset?dataset=u/gone", "force-refresh/dataset-config-names?dataset=u/gone"] {
        let reply = api.operator(Method::POST, &format!("/admin/{path}")).await;
        assert_refused(&reply, 501, "NotSupportedRepositoryNotFoundError");
    }
    api.hub.set("u/down", Err(HubError::Unreachable("no route".to_owned())));
    let reply = api.operator(Method::POST, "/admin/recreate-dataset?dataset=u/down").await;
    assert_refused(&reply, 500, "AuthCheckHubRequestError");
}

#[tokio::test]
async fn only_listed_artifacts_are_refreshed() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    for (path, status, code) in [
        ("split-first-rows?dataset=u/d&config=default&split=test", 404, "ResponseNotFound"),
        ("split-first-rows?dataset=u/d&config=default", 422, "MissingRequiredParameter"),
        ("no-such-step?dataset=u/d", 404, "ResponseNotFound"),
        ("config-split-names?dataset=a/b/c&config=x", 422, "InvalidParameter"),
    ] {
        let reply = api.operator(Method::POST, &format!("/admin/force-refresh/{path}")).await;
        assert_refused(&reply, status, code);
    }
    assert!(api.store.state(&dataset("u/d")).await.unwrap().jobs.is_empty());
}

#[tokio::test]
async fn a_cancelled_dataset_keeps_what_is_stored_until_a_backfill() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    api.webhook(&event("add", "u/d")).await;
    let done = api.admin_post("/admin/cancel?dataset=u/d").await;
    assert_eq!(done, json!({"status": "ok", "dataset": "u/d", "jobs_cancelled": 1}));
    assert!(api.store.claim(&Queue::ALL, NOW).await.unwrap().is_none());
    let done = api.admin_post("/admin/backfill?dataset=u/d").await;
    assert_eq!(done, json!({"status": "ok", "dataset": "u/d", "jobs_created": 1}));
    for path in ["cancel", "backfill"] {
        let reply = api.operator(Method::POST, &format!("/admin/{path}?dataset=u/unknown")).await;
        assert_refused(&reply, 404, "ResponseNotFound");
    }
}

#[tokio::test]
async fn a_backfill_of_everything_is_left_to_maintenance() {
    let api = Api::start().await;
    for _ in 0..2 {
        let done = api.admin_post("/admin/backfill?retry_errors=true").await;
        assert_eq!(done, json!({"status": "started"}));
    }
    let mut backfills = api.backfills.lock().unwrap();
    assert_eq!(backfills.try_recv().unwrap(), BackfillRequest { retry_errors: true });
    assert!(backfills.try_recv().is_err());
}

#[tokio::test]
async fn the_status_shows_queue_and_cache_at_a_glance() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    api.hub.set("u/e", Ok(public("u/e")));
    api.webhook(&event("add", "u/e")).await;
    api.store.claim(&Queue::ALL, NOW).await.unwrap().unwrap();
    let status = api.admin_get("/admin/status").await;
    assert_eq!((&status["datasets"], &status["is_current"]), (&json!(2), &json!(true)));
    assert_eq!(status["position"], status["authority_position"]);
    assert_eq!(status["queue"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&status["queue"][0]["kind"], &status["queue"][0]["status"]),
        (&json!("dataset-config-names"), &json!("started"))
    );
    assert_eq!(status["running"][0]["dataset"], "u/e");
    let counted: u64 =
        status["entries"].as_array().unwrap().iter().map(|count| count["entries"].as_u64().unwrap()).sum();
    assert_eq!(counted, 7);
    assert_eq!(status["node"]["role"], "primary");
}

#[tokio::test]
async fn metrics_count_admin_requests_by_template() {
    let api = Api::start().await;
    api.admin_get("/admin/cache-reports/split-first-rows").await;
    let text = api.get("/metrics").await.text().to_owned();
    let line = r#"starlette_requests_total{method="GET",path_template="/admin/cache-reports/{kind}"} 1"#;
    assert!(text.lines().any(|found| found == line), "{text}");
}
