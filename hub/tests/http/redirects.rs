//! Where requests and the token go.

use super::*;

#[tokio::test]
async fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let (_root, stub) = stub();
    stub.configure("u/d", |knobs| knobs.on_cdn = true);
    let hub = client_with_token(&stub, TOKEN);
    assert_eq!(read(&hub, 2, 3).await.unwrap(), "234");
    let seen = stub.requests();
    assert!(seen.iter().any(|request| request.host == Host::Cdn));
    for request in seen {
        let expected = (request.host == Host::Hub).then(|| format!("Bearer {TOKEN}"));
        assert_eq!(request.authorization, expected, "{request:?}");
        assert!(request.user_agent.unwrap().starts_with("outpost/"));
    }
}

#[tokio::test]
async fn a_file_found_elsewhere_is_read_on_there() {
    let (_root, stub) = stub();
    stub.configure("u/d", |knobs| knobs.on_cdn = true);
    let hub = client(&stub);
    let revision = head(&hub, "u/d").await;
    for offset in [0, 4, 8, 12] {
        let expected = "0123456789".get(offset..(offset + 4).min(10)).unwrap_or_default();
        let range = hub.read_range(&dataset("u/d"), &revision, "a.csv", offset as u64, 4).await.unwrap();
        assert_eq!(range, expected);
    }
    assert_eq!(stub.count(FILE), 1);
    // A signature that is refused leads back to the Hub.
    stub.inject("/u/d/", 1, &Fault::status(403, &[]));
    let range = hub.read_range(&dataset("u/d"), &revision, "a.csv", 0, 4).await.unwrap();
    assert_eq!((range.as_ref(), stub.count(FILE)), (&b"0123"[..], 2));
}

#[tokio::test]
async fn renamed_datasets_are_followed_with_the_token() {
    let (_root, stub) = stub();
    stub.configure("u/old", |knobs| knobs.renamed_to = Some("u/d".to_owned()));
    let hub = client_with_token(&stub, TOKEN);
    let info = hub.repo_info(&dataset("u/old"), None).await.unwrap();
    assert_eq!(info.dataset, dataset("u/d"));
    assert_eq!(hub.list_files(&dataset("u/old"), &info.revision, "").await.unwrap().len(), 1);
    let file = hub.read_file(&dataset("u/old"), &info.revision, "a.csv", 10).await.unwrap();
    assert_eq!(file.unwrap(), "0123456789");
    assert!(stub.requests().iter().all(|request| request.authorization.is_some()));
}

#[tokio::test]
async fn api_calls_and_pages_do_not_leave_the_hub() {
    let (_root, stub) = stub();
    let (_other_root, other) = super::stub();
    let away = format!("{}{INFO}", other.endpoint());
    let hub = client_with_token(&stub, TOKEN);
    stub.inject(INFO, 1, &Fault::status(307, &[("location", &away)]));
    assert!(matches!(info(&hub).await, Err(HubError::Protocol(_))));
    let link = format!("<{away}>; rel=\"next\"");
    let page = Fault::Answer { status: 200, headers: vec![("link", link)], body: b"[]".as_slice().into() };
    stub.inject(TREE, 1, &page);
    let revision = head(&hub, "u/d").await;
    let listed = hub.list_files(&dataset("u/d"), &revision, "").await;
    assert!(matches!(listed, Err(HubError::Protocol(_))), "{listed:?}");
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let (_root, stub) = stub();
    stub.inject(INFO, usize::MAX, &Fault::status(302, &[("location", INFO)]));
    assert!(matches!(info(&client(&stub)).await, Err(HubError::Protocol(_))));
    assert_eq!(stub.count(INFO), HUB_REDIRECTS_MAX as usize + 1);
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_error() {
    let (_root, stub) = stub();
    for location in ["ftp://h/x", "file:///etc/passwd", "http://", "//"] {
        stub.inject(FILE, 1, &Fault::status(302, &[("location", location)]));
        let outcome = read(&client(&stub), 0, 1).await;
        assert!(matches!(outcome, Err(HubError::Protocol(_))), "{location}: {outcome:?}");
    }
}
