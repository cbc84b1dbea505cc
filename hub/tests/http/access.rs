//! Who may read: checks for callers, errors for the node.

use super::*;

#[tokio::test]
async fn a_check_carries_the_callers_header_and_nothing_of_the_nodes() {
    let (_root, stub) = stub();
    stub.add_account("hf_caller", "caller");
    let hub = client_with_token(&stub, TOKEN);
    assert_eq!(hub.auth_check(&dataset("u/d"), None).await, Ok(Access::Granted));
    assert_eq!(hub.auth_check(&dataset("u/d"), Some("Bearer hf_caller")).await, Ok(Access::Granted));
    let sent: Vec<_> = stub.requests().into_iter().map(|request| request.authorization).collect();
    assert_eq!(sent, [None, Some("Bearer hf_caller".to_owned())]);
}

#[tokio::test]
async fn private_and_gated_datasets_are_for_their_readers() {
    for visibility in [Visibility::Private, Visibility::Gated] {
        let (_root, stub) = stub();
        stub.add_account("hf_in", "in");
        stub.add_account("hf_out", "out");
        stub.configure("u/d", |knobs| {
            knobs.visibility = visibility;
            knobs.readers.insert("hf_in".to_owned());
        });
        let hub = client(&stub);
        for (authorization, access) in [
            (Some("Bearer hf_in"), Access::Granted),
            (Some("Bearer hf_out"), Access::Denied),
            (Some("Bearer hf_unknown"), Access::Unauthenticated),
            (Some("Bearer \n"), Access::Unauthenticated),
            (None, Access::Unauthenticated),
        ] {
            let checked = hub.auth_check(&dataset("u/d"), authorization).await;
            assert_eq!(checked, Ok(access), "{visibility:?} {authorization:?}");
        }
    }
}

#[tokio::test]
async fn a_renamed_dataset_is_said_to_be_renamed_and_not_followed() {
    let (_root, stub) = stub();
    stub.configure("u/old", |knobs| knobs.renamed_to = Some("u/d".to_owned()));
    assert_eq!(client(&stub).auth_check(&dataset("u/old"), None).await, Ok(Access::Renamed));
    assert_eq!(stub.requests().len(), 1);
}

#[tokio::test]
async fn a_check_is_asked_once() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    for status in [301, 429, 500] {
        stub.inject(INFO, 1, &Fault::status(status, &[("location", "/")]));
        let outcome = hub.auth_check(&dataset("u/d"), None).await;
        assert!(matches!(outcome, Err(HubError::Status { status: got, .. }) if got == status), "{outcome:?}");
    }
    assert_eq!(stub.requests().len(), 3);
}

#[tokio::test]
async fn a_check_has_a_timeout_of_its_own() {
    let (_root, stub) = stub();
    let (mut options, _) = options(&stub);
    options.auth_timeout_ms = 20;
    let gate = stub.hold(INFO);
    let outcome = HttpHub::new(options).unwrap().auth_check(&dataset("u/d"), None).await;
    assert!(matches!(outcome, Err(HubError::Unreachable(_))), "{outcome:?}");
    drop(gate);
}

#[tokio::test]
async fn the_nodes_account_is_that_of_its_token() {
    let (_root, stub) = stub();
    assert_eq!(client_with_token(&stub, TOKEN).whoami().await, Ok(Some("robot".to_owned())));
    let (mut options, _) = options(&stub);
    options.token = Some("hf_stale".to_owned());
    let outcome = HttpHub::new(options).unwrap().whoami().await;
    assert!(matches!(outcome, Err(HubError::Status { status: 401, .. })), "{outcome:?}");
}

#[tokio::test]
async fn what_the_token_may_not_read_is_an_error_of_its_own() {
    let (_root, stub) = stub();
    let hub = client_with_token(&stub, TOKEN);
    let name = || "u/d".to_owned();
    stub.configure("u/d", |knobs| knobs.visibility = Visibility::Gated);
    assert_eq!(hub.repo_info(&dataset("u/d"), None).await.unwrap().visibility, Visibility::Gated);
    assert_eq!(read(&hub, 0, 1).await, Err(HubError::Gated(name())));
    stub.configure("u/d", |knobs| knobs.visibility = Visibility::Private);
    assert_eq!(info(&hub).await, Err(HubError::RepoNotFound(name())));
    assert_eq!(info(&client(&stub)).await, Err(HubError::RepoNotFound(name())), "anonymous: 401");
    assert!(hub.list_datasets(10).await.unwrap().is_empty());
    stub.configure("u/d", |knobs| {
        knobs.visibility = Visibility::Public;
        knobs.disabled = true;
        knobs.tags = vec!["nsfw".to_owned()];
    });
    assert_eq!(read(&hub, 0, 1).await, Err(HubError::Disabled(name())));
    let told = hub.repo_info(&dataset("u/d"), None).await.unwrap();
    assert_eq!((told.disabled, told.tags), (true, vec!["nsfw".to_owned()]));
}

#[tokio::test]
async fn a_listing_holds_no_private_dataset_even_of_the_token() {
    let (_root, stub) = stub();
    stub.configure("u/d", |knobs| {
        knobs.visibility = Visibility::Private;
        knobs.readers.insert(TOKEN.to_owned());
    });
    let hub = client_with_token(&stub, TOKEN);
    assert_eq!(hub.repo_info(&dataset("u/d"), None).await.unwrap().visibility, Visibility::Private);
    assert!(hub.list_datasets(10).await.unwrap().is_empty());
}
