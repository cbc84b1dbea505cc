//! Answers that are not what was asked for.

use super::*;

#[tokio::test]
async fn what_is_not_the_api_is_refused_and_not_asked_again() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let deep = "[".repeat(100_000);
    let bodies = [
        "",
        "null",
        "{",
        "[]",
        "<html>",
        "\u{0}",
        r#"{"id":7,"sha":"a"}"#,
        r#"{"id":"u/d"}"#,
        r#"{"id":"../d","sha":"a"}"#,
        r#"{"id":"u/d","sha":"a b"}"#,
        r#"{"id":"u/d","sha":"a","tags":7}"#,
        &deep,
    ];
    for body in bodies {
        stub.inject(INFO, 1, &Fault::body(body.to_owned()));
        let outcome = info(&hub).await;
        assert!(matches!(outcome, Err(HubError::Protocol(_))), "{body:.40}: {outcome:?}");
    }
    assert_eq!(stub.count(INFO), bodies.len());
    stub.inject(INFO, 1, &Fault::body(b"\xff\xfe".as_slice()));
    assert!(matches!(info(&hub).await, Err(HubError::Protocol(_))));
}

#[tokio::test]
async fn json_without_end_is_not_read_to_the_end() {
    let (_root, stub) = stub();
    let bytes = usize::try_from(HUB_JSON_BYTES_MAX).unwrap() + 1;
    stub.inject(INFO, 1, &Fault::body(vec![b' '; bytes]));
    assert!(matches!(info(&client(&stub)).await, Err(HubError::Protocol(_))));
}

fn partial(range: &str, commit: &str) -> Fault {
    let headers = vec![("content-range", range.to_owned()), ("x-repo-commit", commit.to_owned())];
    Fault::Answer { status: 206, headers, body: b"23".as_slice().into() }
}

#[tokio::test]
async fn another_range_or_commit_than_asked_for_is_refused() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let commit = head(&hub, "u/d").await.to_string();
    for fault in [
        partial("bytes 1-2/10", &commit),
        partial("bytes 2-4/10", &commit),
        partial("", &commit),
        partial("bytes 2-3/10", &"0".repeat(40)),
    ] {
        stub.inject(FILE, 1, &fault);
        let outcome = read(&hub, 2, 2).await;
        assert!(matches!(outcome, Err(HubError::Protocol(_))), "{fault:?}: {outcome:?}");
    }
    stub.inject(FILE, 1, &partial("bytes 2-3/*", &commit));
    assert_eq!(read(&hub, 2, 2).await.unwrap(), "23");
}

#[tokio::test]
async fn a_part_that_ends_early_is_read_again() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let commit = head(&hub, "u/d").await.to_string();
    stub.inject(FILE, 1, &partial("bytes 2-3/10", &commit));
    stub.inject(FILE, 1, &partial("bytes 2-5/10", &commit));
    assert_eq!(read(&hub, 2, 4).await.unwrap(), "2345");
    assert_eq!(stub.count(FILE), 3);
}

#[tokio::test]
async fn a_server_without_ranges_is_coped_with() {
    let (_root, stub) = stub();
    stub.inject(FILE, 1, &Fault::body("0123456789"));
    assert_eq!(read(&client(&stub), 4, 3).await.unwrap(), "456");
    stub.inject(FILE, 1, &Fault::body("0123456789"));
    assert_eq!(read(&client(&stub), 40, 3).await.unwrap(), "");
}

#[tokio::test]
async fn a_file_that_is_larger_than_said_is_not_read_whole() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let revision = head(&hub, "u/d").await;
    let lie = Fault::Answer {
        status: 200,
        headers: vec![("x-linked-size", "1".to_owned())],
        body: vec![0; 1_000].into(),
    };
    stub.inject(FILE, 1, &lie);
    let outcome = hub.read_file(&dataset("u/d"), &revision, "a.csv", 10).await;
    assert!(matches!(outcome, Err(HubError::TooLarge { limit: 10, .. })), "{outcome:?}");
}

#[tokio::test]
async fn files_have_public_addresses_in_the_hubs_spelling() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let (dataset, revision) = (dataset("u/d"), outpost_model::Revision::new("abc").unwrap());
    let url = hub.resolve_url(&dataset, &revision, "a b/é#1.jpg");
    assert_eq!(url, Some(format!("{}/datasets/u/d/resolve/abc/a%20b/%C3%A9%231.jpg", stub.endpoint())));
    assert_eq!(hub.resolve_url(&dataset, &revision, "../x"), None);
    assert_eq!(stub.requests().len(), 0);
}
