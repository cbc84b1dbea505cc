//! Pages of files and datasets.

use super::*;

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let root = Root::new();
    for number in 0..25 {
        root.write(&format!("u/d{number:02}/a"), "x");
        root.write(&format!("u/d/{number:02}"), "x");
    }
    let stub = HubStub::start(root.path()).unwrap();
    stub.set_page_entries(4);
    let hub = client_with_token(&stub, TOKEN);
    assert_eq!(hub.list_datasets(100).await.unwrap().len(), 26);
    assert_eq!(hub.list_datasets(5).await.unwrap().len(), 5);
    let revision = head(&hub, "u/d").await;
    assert_eq!(hub.list_files(&dataset("u/d"), &revision, "").await.unwrap().len(), 25);
    assert_eq!(stub.count(TREE), 7);
    assert!(stub.requests().iter().all(|request| request.authorization.is_some()));
}

#[tokio::test]
async fn a_revision_is_listed_once() {
    let (root, stub) = stub();
    root.write("u/d/data/b.csv", "x");
    let hub = client(&stub);
    let revision = head(&hub, "u/d").await;
    let mut gate = stub.hold(TREE);
    let (first, second) = (hub.clone(), hub.clone());
    let (first_revision, second_revision) = (revision.clone(), revision.clone());
    let first = tokio::spawn(async move { first.list_files(&dataset("u/d"), &first_revision, "").await });
    let second =
        tokio::spawn(async move { second.list_files(&dataset("u/d"), &second_revision, "data").await });
    gate.arrived(1).await;
    gate.open();
    assert_eq!(first.await.unwrap().unwrap().len(), 2);
    assert_eq!(second.await.unwrap().unwrap().len(), 1);
    assert!(hub.list_files(&dataset("u/d"), &revision, "none").await.is_err());
    assert_eq!(stub.count(TREE), 1);
}

#[tokio::test]
async fn pages_that_go_in_a_circle_are_refused() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let revision = head(&hub, "u/d").await;
    let link = format!("<{}{TREE}/x?cursor=1>; rel=\"next\"", stub.endpoint());
    let page = Fault::Answer { status: 200, headers: vec![("link", link)], body: b"[]".as_slice().into() };
    stub.inject(TREE, usize::MAX, &page);
    let listed = hub.list_files(&dataset("u/d"), &revision, "").await;
    assert!(matches!(listed, Err(HubError::Protocol(_))), "{listed:?}");
    assert_eq!(stub.count(TREE), 2);
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let revision = head(&hub, "u/d").await;
    stub.inject(TREE, usize::MAX, &Fault::EndlessPages);
    let listed = hub.list_files(&dataset("u/d"), &revision, "").await;
    assert!(matches!(listed, Err(HubError::Protocol(_))), "{listed:?}");
    assert_eq!(stub.count(TREE), HUB_PAGES_MAX);
}

#[tokio::test]
async fn too_many_entries_are_refused() {
    let root = Root::new();
    for number in 0..11 {
        root.write(&format!("u/d/{number}"), "x");
    }
    let stub = HubStub::start(root.path()).unwrap();
    stub.set_page_entries(4);
    let (mut options, _) = options(&stub);
    options.tree_entries_max = 10;
    let hub = HttpHub::new(options).unwrap();
    let revision = head(&hub, "u/d").await;
    let listed = hub.list_files(&dataset("u/d"), &revision, "").await;
    assert!(matches!(listed, Err(HubError::Protocol(_))), "{listed:?}");
}

#[tokio::test]
async fn paths_that_no_repository_can_hold_are_left_out() {
    let (_root, stub) = stub();
    let hub = client(&stub);
    let revision = head(&hub, "u/d").await;
    let page = r#"[{"type":"file","path":"../x","size":1},{"type":"file","path":"/etc/passwd","size":1},
        {"type":"file","path":"a//b","size":1},{"type":"directory","path":"d","size":0},
        {"type":"file","path":"ok","size":18446744073709551615},{"type":"file","path":"ok","size":1}]"#;
    stub.inject(TREE, 1, &Fault::body(page));
    let files = hub.list_files(&dataset("u/d"), &revision, "").await.unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["ok"]);
}
