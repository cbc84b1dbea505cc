//! `/rows`: pages of what is precomputed.

use outpost_model::ErrorCode;
use serde_json::{Value, json};

use crate::fixture::{Api, REVISION, Scripted, complete, event, first_rows, public};

const SPLIT: &str = "/rows?dataset=u/d&config=default&split=train";

#[tokio::test]
async fn without_a_page_the_first_rows_are_answered() {
    let api = Api::start().await;
    api.serve(&first_rows(3, 4, false)).await;
    let reply = api.get(SPLIT).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["features", "rows", "num_rows_total", "num_rows_per_page", "partial"]);
    assert_eq!(body["rows"][1], json!({"row_idx":1,"row":{"text":"1xxxx"},"truncated_cells":[]}));
    assert_eq!(body["features"][0]["name"], "text");
    assert_eq!((&body["num_rows_total"], &body["num_rows_per_page"]), (&json!(3), &json!(100)));
    assert_eq!(body["partial"], false);
    assert_eq!(reply.header("x-revision"), Some(REVISION));
    assert_eq!(reply.header("cache-control"), Some("max-age=120"));
}

#[tokio::test]
async fn pages_are_cut_where_asked() {
    let api = Api::start().await;
    api.serve(&first_rows(5, 1, false)).await;
    for (page, expected) in [
        ("offset=1&length=2", vec![1, 2]),
        ("offset=4&length=100", vec![4]),
        ("offset=5", vec![]),
        ("offset=18446744073709551616", vec![]),
        ("length=0", vec![]),
        ("offset=%2B1&length=0_1", vec![1]),
    ] {
        let reply = api.get(&format!("{SPLIT}&{page}")).await;
        let indices: Vec<i64> = reply.json()["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["row_idx"].as_i64().unwrap())
            .collect();
        assert_eq!(indices, expected, "{page}");
        assert_eq!(reply.json()["num_rows_total"], 5);
    }
}

#[tokio::test]
async fn beyond_the_precomputed_rows_the_answer_says_what_to_do() {
    let api = Api::start().await;
    api.serve(&first_rows(5, 1, true)).await;
    let reply = api.get(&format!("{SPLIT}&offset=2&length=3")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["num_rows_total"]), (200, &Value::Null));
    for page in ["", "&offset=5", "&offset=3&length=3"] {
        let reply = api.get(&format!("{SPLIT}{page}")).await;
        reply.is_error(501, "RowsNotPrecomputed");
        assert!(reply.text().contains("rows below 5"), "{}", reply.text());
    }
}

#[tokio::test]
async fn parameters_are_checked_in_order() {
    let api = Api::start().await;
    for (query, code, text) in [
        ("", "MissingRequiredParameter", "Parameter 'dataset' is required"),
        ("dataset=u/d&split=s&offset=x", "MissingRequiredParameter", "Parameter 'config' is required"),
        ("dataset=u/d&config=c&split=+", "MissingRequiredParameter", "Parameter 'split' is required"),
        (
            "dataset=u/d&config=c&split=s&offset=&length=x",
            "InvalidParameter",
            "Parameter 'offset' must be integer",
        ),
        ("dataset=u/d&config=c&split=s&offset=-1", "InvalidParameter", "Parameter 'offset' must be positive"),
        (
            "dataset=u/d&config=c&split=s&length=101",
            "InvalidParameter",
            "Parameter 'length' must not be greater than 100",
        ),
    ] {
        let reply = api.get(&format!("/rows?{query}")).await;
        reply.is_error(422, code);
        assert_eq!(reply.json()["error"], text);
    }
}

#[tokio::test]
async fn a_stored_error_is_answered_whatever_the_page() {
    let api = Api::start().await;
    api.hub.set("u/d", Ok(public("u/d")));
    api.webhook(&event("add", "u/d")).await;
    api.compute(|key| match key.split() {
        Some(_) => Scripted {
            error: Some(ErrorCode::TooManyColumnsError),
            body: r#"{"error":"too many"}"#.to_owned(),
            names: Vec::new(),
        },
        None => complete(key, ""),
    })
    .await;
    let reply = api.get(&format!("{SPLIT}&offset=7")).await;
    reply.is_error(500, "TooManyColumnsError");
    assert_eq!(reply.header("x-revision"), Some(REVISION));
}
