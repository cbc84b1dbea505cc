//! Methods, routing, CORS, HEAD: http-api.md sections 0.2 and 0.4.

use axum::http::Method;

use crate::fixture::{Api, first_rows};

#[tokio::test]
async fn unknown_paths_are_plain_404() {
    let api = Api::start().await;
    for path in ["/nowhere", "/valid", "/croissant", "/config-names", "/nowhere/", "/splits//", "/Splits"] {
        let reply = api.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (404, "Not Found"), "{path}");
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!((reply.header("x-error-code"), reply.header("cache-control")), (None, None));
    }
}

#[tokio::test]
async fn wrong_methods_are_405_with_the_allowed_ones() {
    let api = Api::start().await;
    for (method, path, allow) in [
        (Method::POST, "/splits", "GET,HEAD"),
        (Method::DELETE, "/rows", "GET,HEAD"),
        (Method::GET, "/webhook", "POST"),
        (Method::OPTIONS, "/splits", "GET,HEAD"),
    ] {
        let reply = api.request(method, path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.text()), (405, "Method Not Allowed"), "{path}");
        assert_eq!(reply.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn a_trailing_slash_is_redirected_with_its_query() {
    let api = Api::start().await;
    let reply = api.get("/splits/?dataset=u/d&x=%20").await;
    assert_eq!(reply.status, 307);
    assert_eq!(reply.header("location"), Some("/splits?dataset=u/d&x=%20"));
    assert_eq!(api.get("/webhook/").await.header("location"), Some("/webhook"));
}

#[tokio::test]
async fn the_last_of_repeated_parameters_wins_and_plus_is_a_space() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    assert_eq!(api.get("/splits?dataset=nope&dataset=u%2Fd&unknown=%zz").await.status, 200);
    api.get("/splits?dataset=u/d&dataset").await.is_error(422, "MissingRequiredParameter");
    api.get("/splits?dataset=u/d&config=+default+").await.is_error(404, "ResponseNotFound");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let api = Api::start().await;
    api.serve(&first_rows(1, 1, false)).await;
    for uri in
        ["/splits?dataset=u/d", "/splits", "/healthcheck", "/rows?dataset=u/d&config=default&split=train"]
    {
        let get = api.get(uri).await;
        let head = api.request(Method::HEAD, uri, &[], "").await;
        assert_eq!(head.status, get.status, "{uri}");
        assert!(head.body.is_empty());
        for name in ["content-type", "etag", "cache-control", "x-revision", "x-error-code"] {
            assert_eq!(head.header(name), get.header(name), "{uri} {name}");
        }
        assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{uri}");
    }
}

#[tokio::test]
async fn without_an_origin_there_are_no_cors_headers() {
    let api = Api::start().await;
    let reply = api.get("/healthcheck").await;
    assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
}

#[tokio::test]
async fn any_origin_may_read_and_sees_our_headers() {
    let api = Api::start().await;
    for uri in ["/healthcheck", "/nowhere", "/splits"] {
        let reply = api.get_with(uri, &[("origin", "https://x.example"), ("cookie", "a=b")]).await;
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://x.example"), "{uri}");
        assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(reply.header("vary"), Some("Accept-Encoding, Origin"));
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["X-Error-Code", "X-Revision", "X-Sync-Position", "ETag", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
    }
}

#[tokio::test]
async fn preflights_are_answered_without_a_handler() {
    let api = Api::start().await;
    let asks = [
        ("origin", "https://x.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-webhook-secret, foo"),
    ];
    let reply = api.request(Method::OPTIONS, "/splits", &asks, "").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (200, "OK"));
    for (name, value) in [
        ("access-control-allow-origin", "https://x.example"),
        ("access-control-allow-methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("access-control-max-age", "600"),
        ("access-control-allow-headers", "x-webhook-secret, foo"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let asks = [("origin", "https://x.example"), ("access-control-request-method", "BREW")];
    let reply = api.request(Method::OPTIONS, "/splits", &asks, "").await;
    assert_eq!((reply.status.as_u16(), reply.text()), (400, "Disallowed CORS method"));
}
