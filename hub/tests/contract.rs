//! What every Hub does alike: each case runs against a folder, against the HTTP client of a stub that serves the same
//! folder, and against that client with files on a second host.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod support;

use std::sync::Arc;

use outpost_harness::hub_stub::HubStub;
use outpost_hub::{Access, FolderHub, FolderHubOptions, Hub, HubError};
use outpost_model::Visibility;
use outpost_model::limits::RANGE_BYTES_MAX;

use support::{Root, client, dataset, head, no_revision};

/// A Hub over a folder, and what keeps it alive.
struct Fixture {
    root: Root,
    hub: Arc<dyn Hub>,
    stub: Option<HubStub>,
}

impl Fixture {
    fn folder(root: Root) -> Self {
        let hub = Arc::new(FolderHub::open(FolderHubOptions::new(root.path())).unwrap());
        Self { root, hub, stub: None }
    }

    fn http(root: Root) -> Self {
        let stub = HubStub::start(root.path()).unwrap();
        let hub = Arc::new(client(&stub));
        Self { root, hub, stub: Some(stub) }
    }

    fn cdn(root: Root) -> Self {
        let fixture = Self::http(root);
        fixture.stub.as_ref().unwrap().configure("u/d", |knobs| knobs.on_cdn = true);
        fixture
    }
}

macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod folder { $(#[tokio::test] async fn $case() { super::$case(super::Fixture::folder).await; })+ }
        mod http { $(#[tokio::test] async fn $case() { super::$case(super::Fixture::http).await; })+ }
        mod cdn { $(#[tokio::test] async fn $case() { super::$case(super::Fixture::cdn).await; })+ }
    };
}

contract![
    datasets_are_listed_in_order_up_to_a_limit,
    files_are_listed_recursively_in_code_point_order,
    a_folder_lists_what_is_under_it,
    missing_folders_are_not_found,
    an_empty_dataset_has_a_root,
    odd_paths_are_read,
    ranges_are_cut_at_the_end_of_the_file,
    whole_files_are_read_up_to_a_bound,
    missing_files_are_told_apart_from_missing_datasets_and_revisions,
    info_names_the_head,
    the_card_disables_the_viewer,
    a_tree_of_thousands_of_files_is_listed_whole,
    existing_public_datasets_are_granted,
    content_makes_the_revision,
];

async fn datasets_are_listed_in_order_up_to_a_limit(make: fn(Root) -> Fixture) {
    let root = Root::new();
    for name in ["b/a", "a/b", "a/c"] {
        root.write(&format!("{name}/x.csv"), "x");
    }
    let fixture = make(root);
    let hub = &fixture.hub;
    assert_eq!(hub.list_datasets(10).await.unwrap(), [dataset("a/b"), dataset("a/c"), dataset("b/a")]);
    assert_eq!(hub.list_datasets(2).await.unwrap(), [dataset("a/b"), dataset("a/c")]);
    assert!(hub.list_datasets(0).await.unwrap().is_empty());
}

async fn files_are_listed_recursively_in_code_point_order(make: fn(Root) -> Fixture) {
    let root = Root::new();
    let sorted =
        [".gitattributes", ".hidden/x", "B.csv", "a b.csv", "a.csv", "a/é/中.csv", "a/😀.csv", "é.csv"];
    for path in sorted {
        root.write(&format!("u/d/{path}"), path);
    }
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    let files = fixture.hub.list_files(&dataset("u/d"), &revision, "").await.unwrap();
    let listed: Vec<(&str, u64)> = files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    assert_eq!(listed, sorted.map(|path| (path, path.len() as u64)));
}

async fn a_folder_lists_what_is_under_it(make: fn(Root) -> Fixture) {
    let root = Root::new();
    for path in ["data/a", "data/b/c", "data-1/x", "data.csv", "été/x y"] {
        root.write(&format!("u/d/{path}"), path);
    }
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    for (folder, expected) in
        [("data", &["data/a", "data/b/c"][..]), ("data/b", &["data/b/c"]), ("été", &["été/x y"])]
    {
        let files = fixture.hub.list_files(&dataset("u/d"), &revision, folder).await.unwrap();
        let listed: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(listed, expected, "{folder}");
    }
}

async fn missing_folders_are_not_found(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/data/a", "x");
    root.write("u/e/a", "x");
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    for folder in ["dat", "data/", "/data", "data/a", "./data", "..", "../e", "data/../data", "x\0y"] {
        let listed = fixture.hub.list_files(&dataset("u/d"), &revision, folder).await;
        assert_eq!(listed, Err(HubError::EntryNotFound(folder.to_owned())), "{folder}");
    }
}

async fn an_empty_dataset_has_a_root(make: fn(Root) -> Fixture) {
    let root = Root::new();
    std::fs::create_dir_all(root.join("u/d")).unwrap();
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    assert_eq!(fixture.hub.list_files(&dataset("u/d"), &revision, "").await, Ok(Vec::new()));
}

async fn odd_paths_are_read(make: fn(Root) -> Fixture) {
    let root = Root::new();
    let paths =
        ["a b.csv", "é/中 😀.csv", "100%.csv", "%2e%2e", "#?&+=.csv", "a,b;c", "[x](y)'\"", "..a/b.."];
    for path in paths {
        root.write(&format!("u/d/{path}"), path);
    }
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    for path in paths {
        let whole = fixture.hub.read_file(&dataset("u/d"), &revision, path, 100).await.unwrap();
        assert_eq!(whole.as_deref(), Some(path.as_bytes()), "{path}");
        let range = fixture.hub.read_range(&dataset("u/d"), &revision, path, 1, 2).await.unwrap();
        assert_eq!(&range[..], &path.as_bytes()[1..3], "{path}");
    }
}

async fn ranges_are_cut_at_the_end_of_the_file(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/ten", "0123456789");
    root.write("u/d/none", "");
    let fixture = make(root);
    let hub = &fixture.hub;
    let revision = head(&**hub, "u/d").await;
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (0, 4, "0123"),
        (3, 4, "3456"),
        (8, 2, "89"),
        (8, 100, "89"),
        (9, 1, "9"),
        (10, 1, ""),
        (11, RANGE_BYTES_MAX, ""),
        (u64::MAX, 10, ""),
        (5, 0, ""),
    ] {
        let range = hub.read_range(&dataset("u/d"), &revision, "ten", offset, length).await.unwrap();
        assert_eq!(range, expected, "{offset} {length}");
    }
    assert_eq!(hub.read_range(&dataset("u/d"), &revision, "none", 0, 10).await.unwrap(), "");
    let too_long = hub.read_range(&dataset("u/d"), &revision, "ten", 0, RANGE_BYTES_MAX + 1).await;
    assert!(matches!(too_long, Err(HubError::TooLarge { limit: RANGE_BYTES_MAX, .. })), "{too_long:?}");
}

async fn whole_files_are_read_up_to_a_bound(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/ten", "0123456789");
    root.write("u/d/none", "");
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    let read = async |path: &str, bytes_max| {
        fixture.hub.read_file(&dataset("u/d"), &revision, path, bytes_max).await
    };
    assert_eq!(read("ten", 10).await.unwrap().unwrap(), "0123456789");
    assert_eq!(read("none", 0).await.unwrap().unwrap(), "");
    let path = "ten".to_owned();
    assert_eq!(read("ten", 9).await, Err(HubError::TooLarge { path, size: 10, limit: 9 }));
}

async fn missing_files_are_told_apart_from_missing_datasets_and_revisions(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/data/a", "x");
    root.write("u/secret", "x");
    let fixture = make(root);
    let hub = &fixture.hub;
    let revision = head(&**hub, "u/d").await;
    for path in
        ["b", "data", "data/a/b", "data/", "", "../secret", "data/../../secret", "/etc/passwd", "data/./a"]
    {
        assert_eq!(hub.read_file(&dataset("u/d"), &revision, path, 10).await, Ok(None), "{path}");
        let range = hub.read_range(&dataset("u/d"), &revision, path, 0, 1).await;
        assert_eq!(range, Err(HubError::EntryNotFound(path.to_owned())), "{path}");
    }
    let other = no_revision();
    let no_such = HubError::RevisionNotFound(other.to_string());
    assert_eq!(hub.read_file(&dataset("u/d"), &other, "data/a", 10).await, Err(no_such.clone()));
    assert_eq!(hub.read_range(&dataset("u/d"), &other, "data/a", 0, 1).await, Err(no_such.clone()));
    assert_eq!(hub.list_files(&dataset("u/d"), &other, "").await, Err(no_such.clone()));
    assert_eq!(hub.repo_info(&dataset("u/d"), Some(&other)).await, Err(no_such));
    for name in ["u/none", "none/d", "u/secret"] {
        let gone = HubError::RepoNotFound(name.to_owned());
        assert_eq!(hub.repo_info(&dataset(name), None).await, Err(gone.clone()));
        assert_eq!(hub.list_files(&dataset(name), &revision, "").await, Err(gone.clone()));
        assert_eq!(hub.read_file(&dataset(name), &revision, "a", 10).await, Err(gone));
    }
}

async fn info_names_the_head(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/a", "x");
    let fixture = make(root);
    let info = fixture.hub.repo_info(&dataset("u/d"), None).await.unwrap();
    assert_eq!(info.dataset, dataset("u/d"));
    assert_eq!(info.revision.as_str().len(), 40);
    assert!(info.revision.as_str().bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!((info.visibility, info.disabled, info.viewer_disabled), (Visibility::Public, false, false));
    let same = fixture.hub.repo_info(&dataset("u/d"), Some(&info.revision)).await.unwrap();
    assert_eq!(same, info);
}

async fn the_card_disables_the_viewer(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/README.md", "---\nviewer: false\n---\n");
    let fixture = make(root);
    assert!(fixture.hub.repo_info(&dataset("u/d"), None).await.unwrap().viewer_disabled);
}

async fn a_tree_of_thousands_of_files_is_listed_whole(make: fn(Root) -> Fixture) {
    let root = Root::new();
    for number in 0..2_500 {
        root.write(&format!("u/d/{}/{number:04}.txt", number % 3), "");
    }
    let fixture = make(root);
    let revision = head(&*fixture.hub, "u/d").await;
    let files = fixture.hub.list_files(&dataset("u/d"), &revision, "").await.unwrap();
    assert_eq!(files.len(), 2_500);
    assert!(files.is_sorted_by(|a, b| a.path < b.path));
    assert_eq!(fixture.hub.list_files(&dataset("u/d"), &revision, "1").await.unwrap().len(), 833);
}

async fn existing_public_datasets_are_granted(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/a", "x");
    let fixture = make(root);
    if let Some(stub) = &fixture.stub {
        stub.add_account("hf_known", "someone");
    }
    for (name, authorization, access) in [
        ("u/d", None, Access::Granted),
        ("u/d", Some("Bearer hf_known"), Access::Granted),
        ("u/none", None, Access::Unauthenticated),
        ("u/none", Some("Bearer hf_known"), Access::Denied),
    ] {
        let checked = fixture.hub.auth_check(&dataset(name), authorization).await;
        assert_eq!(checked, Ok(access), "{name} {authorization:?}");
    }
    assert_eq!(fixture.hub.whoami().await, Ok(None));
}

async fn content_makes_the_revision(make: fn(Root) -> Fixture) {
    let root = Root::new();
    root.write("u/d/a", "one");
    let fixture = make(root);
    let hub = &fixture.hub;
    let first = head(&**hub, "u/d").await;
    fixture.root.write("u/d/a", "two");
    let second = head(&**hub, "u/d").await;
    assert_ne!(first, second);
    let old = hub.read_file(&dataset("u/d"), &first, "a", 10).await;
    assert_eq!(old, Err(HubError::RevisionNotFound(first.to_string())));
    assert_eq!(hub.read_file(&dataset("u/d"), &second, "a", 10).await.unwrap().unwrap(), "two");
    fixture.root.write("u/d/a", "one");
    assert_eq!(head(&**hub, "u/d").await, first);
}
