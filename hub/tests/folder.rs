//! A folder as a Hub: layout, revisions, links, changes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use outpost_hub::{DatasetHead, FolderHub, FolderHubOptions, Hub, HubError};
use outpost_model::Revision;

use support::{Root, dataset, head};

/// Longer than anything here takes; reached only by a failing test.
const TIME_MAX: Duration = Duration::from_secs(30);

fn hub(root: &Path) -> FolderHub {
    FolderHub::open(FolderHubOptions { poll_ms_min: 1, ..FolderHubOptions::new(root) }).unwrap()
}

async fn changes(hub: &FolderHub) -> Vec<DatasetHead> {
    tokio::time::timeout(TIME_MAX, hub.changes()).await.expect("changes are noticed").unwrap()
}

async fn paths(hub: &FolderHub, name: &str) -> Vec<String> {
    let revision = head(hub, name).await;
    let files = hub.list_files(&dataset(name), &revision, "").await.unwrap();
    files.into_iter().map(|file| file.path).collect()
}

fn at(name: &str, revision: &Revision) -> DatasetHead {
    DatasetHead { dataset: dataset(name), revision: Some(revision.clone()) }
}

mod layout {
    use super::*;

    #[tokio::test]
    async fn only_valid_names_two_levels_deep_are_datasets() {
        let root = Root::new();
        for path in [
            "u/d/a.csv",
            "u/README.md",
            "top.txt",
            "u/bad--name/a",
            "u/no git.git/a",
            ".cache/x/a",
            "u/.hidden/a",
            "é/d/a",
        ] {
            root.write(path, "x");
        }
        assert_eq!(hub(root.path()).list_datasets(10).await.unwrap(), [dataset("u/d")]);
    }

    #[tokio::test]
    async fn git_folders_are_left_out_and_other_hidden_files_kept() {
        let root = Root::new();
        for path in ["u/d/.git/config", "u/d/sub/.git", "u/d/.gitattributes", "u/d/.data/a"] {
            root.write(path, "x");
        }
        symlink(root.join("u/d/.git/config"), root.join("u/d/config")).unwrap();
        let hub = hub(root.path());
        assert_eq!(paths(&hub, "u/d").await, [".data/a", ".gitattributes"]);
        let revision = head(&hub, "u/d").await;
        assert_eq!(hub.read_file(&dataset("u/d"), &revision, ".git/config", 10).await, Ok(None));
    }

    #[tokio::test]
    async fn special_files_are_left_out() {
        let root = Root::new();
        root.write("u/d/a", "x");
        assert!(Command::new("mkfifo").arg(root.join("u/d/pipe")).status().unwrap().success());
        assert_eq!(paths(&hub(root.path()), "u/d").await, ["a"]);
    }

    #[test]
    fn a_missing_root_is_refused_in_words() {
        let Err(HubError::Folder(message)) = FolderHub::open(FolderHubOptions::new("/no/such/folder")) else {
            panic!("it does not exist")
        };
        assert!(message.contains("/no/such/folder"), "{message}");
    }
}

mod links {
    use super::*;

    #[tokio::test]
    async fn links_out_of_a_dataset_are_not_followed() {
        let root = Root::new();
        root.write("u/d/a", "x");
        root.write("u/other/secret", "secret");
        symlink("/etc/passwd", root.join("u/d/passwd")).unwrap();
        symlink("../other/secret", root.join("u/d/sibling")).unwrap();
        symlink("/etc", root.join("u/d/etc")).unwrap();
        symlink(".", root.join("u/d/loop")).unwrap();
        symlink("self", root.join("u/d/self")).unwrap();
        symlink("nowhere", root.join("u/d/broken")).unwrap();
        let hub = hub(root.path());
        assert_eq!(paths(&hub, "u/d").await, ["a"]);
        let revision = head(&hub, "u/d").await;
        for path in ["passwd", "sibling", "etc/passwd", "loop/a", "../other/secret"] {
            assert_eq!(hub.read_file(&dataset("u/d"), &revision, path, 10_000).await, Ok(None), "{path}");
        }
    }

    #[tokio::test]
    async fn a_link_inside_its_dataset_is_the_file_it_leads_to() {
        let root = Root::new();
        root.write("u/d/blobs/1", "content");
        symlink("blobs/1", root.join("u/d/a.csv")).unwrap();
        let hub = hub(root.path());
        assert_eq!(paths(&hub, "u/d").await, ["a.csv", "blobs/1"]);
        let revision = head(&hub, "u/d").await;
        let read = hub.read_file(&dataset("u/d"), &revision, "a.csv", 10).await.unwrap();
        assert_eq!(read.unwrap(), "content");
    }

    #[tokio::test]
    async fn a_file_replaced_by_a_link_is_of_another_revision() {
        let root = Root::new();
        root.write("u/d/a", "inside");
        root.write("u/other/a", "secret");
        let hub = hub(root.path());
        let revision = head(&hub, "u/d").await;
        fs::remove_file(root.join("u/d/a")).unwrap();
        symlink("../other/a", root.join("u/d/a")).unwrap();
        let read = hub.read_range(&dataset("u/d"), &revision, "a", 0, 6).await;
        assert_eq!(read, Err(HubError::RevisionNotFound(revision.to_string())));
    }

    #[tokio::test]
    async fn dataset_folders_linked_from_outside_the_root_do_not_exist() {
        let outside = Root::new();
        outside.write("d/a", "x");
        let root = Root::new();
        root.write("u/real/a", "x");
        symlink(outside.join("d"), root.join("u/out")).unwrap();
        symlink(outside.path(), root.join("out")).unwrap();
        symlink("real", root.join("u/alias")).unwrap();
        let hub = hub(root.path());
        assert_eq!(hub.list_datasets(10).await.unwrap(), [dataset("u/alias"), dataset("u/real")]);
        for name in ["u/out", "out/d"] {
            let info = hub.repo_info(&dataset(name), None).await;
            assert_eq!(info, Err(HubError::RepoNotFound(name.to_owned())));
        }
    }
}

mod revisions {
    use super::*;

    #[tokio::test]
    async fn the_same_content_has_the_same_revision_wherever_and_whenever() {
        let (one, other) = (Root::new(), Root::new());
        for root in [&one, &other] {
            root.write("u/d/a", "x");
            root.write("u/d/b/c", "y");
        }
        let hub_of_one = hub(one.path());
        let revision = head(&hub_of_one, "u/d").await;
        assert_eq!(head(&hub(other.path()), "u/d").await, revision);
        one.write("u/d/a", "x");
        assert_eq!(head(&hub_of_one, "u/d").await, revision);
    }

    #[tokio::test]
    async fn paths_and_content_both_count() {
        let mut seen = Vec::new();
        for files in [&[("a", "x")][..], &[("b", "x")], &[("a", "y")], &[("a", "x"), ("b", "")], &[]] {
            let root = Root::new();
            fs::create_dir_all(root.join("u/d")).unwrap();
            for (path, content) in files {
                root.write(&format!("u/d/{path}"), content);
            }
            seen.push(head(&hub(root.path()), "u/d").await);
        }
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[tokio::test]
    async fn touched_files_are_not_read_as_the_old_revision() {
        let root = Root::new();
        root.write("u/d/grown", "0123456789");
        root.write("u/d/gone", "0123456789");
        root.write("u/d/kept", "0123456789");
        let hub = hub(root.path());
        let revision = head(&hub, "u/d").await;
        root.write("u/d/grown", "0123456789+");
        fs::remove_file(root.join("u/d/gone")).unwrap();
        for path in ["grown", "gone"] {
            let read = hub.read_range(&dataset("u/d"), &revision, path, 0, 10).await;
            assert_eq!(read, Err(HubError::RevisionNotFound(revision.to_string())), "{path}");
        }
    }

    /// File systems count time in ticks: of two writes within one, neither size nor times tell.
    #[tokio::test]
    async fn quick_rewrites_of_the_same_size_are_told_apart() {
        let root = Root::new();
        let hub = hub(root.path());
        let mut of_content = std::collections::HashMap::new();
        for round in 0..100 {
            let content = if round % 2 == 0 { "even" } else { "odd!" };
            root.write("u/d/a", content);
            let revision = head(&hub, "u/d").await;
            assert_eq!(of_content.entry(content).or_insert_with(|| revision.clone()), &revision, "{round}");
            root.write("u/d/a", "else");
            let read = hub.read_file(&dataset("u/d"), &revision, "a", 10).await;
            assert_eq!(read, Err(HubError::RevisionNotFound(revision.to_string())), "{round}");
        }
        assert_eq!(of_content.len(), 2);
        assert_ne!(of_content["even"], of_content["odd!"]);
    }

    #[tokio::test]
    async fn main_stands_for_the_current_content() {
        let root = Root::new();
        root.write("u/d/a", "x");
        let hub = hub(root.path());
        let main = Revision::new("main").unwrap();
        let info = hub.repo_info(&dataset("u/d"), Some(&main)).await.unwrap();
        assert_eq!(info.revision, head(&hub, "u/d").await);
    }

    /// The saved hashes are trusted: changing one changes the revision after a restart.
    #[tokio::test]
    async fn a_restart_reads_no_file_again() {
        let (root, data) = (Root::new(), Root::new());
        root.write("u/d/a", "x");
        let open = || {
            let hashes_file = Some(data.join("hashes"));
            FolderHub::open(FolderHubOptions {
                hashes_file,
                poll_ms_min: 1,
                ..FolderHubOptions::new(root.path())
            })
            .unwrap()
        };
        let first = open();
        let revision = changes(&first).await[0].revision.clone().unwrap();
        let saved = async {
            // Hashes are saved once the file is old enough for its times to tell of the next change.
            loop {
                let text = fs::read_to_string(data.join("hashes")).unwrap_or_default();
                if text.contains("\"path\":\"a\"") {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        };
        let text = tokio::select! {
            text = saved => text,
            heads = changes(&first) => panic!("nothing changed: {heads:?}"),
        };
        drop(first);
        assert_eq!(head(&open(), "u/d").await, revision);

        let digest = text.split("\"blake3\":\"").nth(1).unwrap()[..64].to_owned();
        fs::write(data.join("hashes"), text.replace(&digest, &"ab".repeat(32))).unwrap();
        assert_ne!(head(&open(), "u/d").await, revision);

        root.write("u/d/a", "x");
        assert_eq!(head(&open(), "u/d").await, revision, "a touched file is read again");
    }
}

mod watching {
    use super::*;

    #[tokio::test]
    async fn the_first_call_returns_every_dataset_and_later_ones_what_changed() {
        let root = Root::new();
        for name in ["u/a", "u/b", "u/c"] {
            root.write(&format!("{name}/x"), name);
        }
        let hub = hub(root.path());
        let mut first = Vec::new();
        for name in ["u/a", "u/b", "u/c"] {
            first.push(at(name, &head(&hub, name).await));
        }
        assert_eq!(changes(&hub).await, first);

        root.write("u/b/x", "changed");
        assert_eq!(changes(&hub).await, [at("u/b", &head(&hub, "u/b").await)]);
        root.write("v/new/x", "new");
        assert_eq!(changes(&hub).await, [at("v/new", &head(&hub, "v/new").await)]);
        fs::remove_dir_all(root.join("u/a")).unwrap();
        assert_eq!(changes(&hub).await, [DatasetHead { dataset: dataset("u/a"), revision: None }]);
        root.write("u/a/x", "u/a");
        assert_eq!(changes(&hub).await, first[..1]);
    }

    #[tokio::test]
    async fn an_empty_folder_says_so_at_once() {
        let root = Root::new();
        let hub = hub(root.path());
        assert!(changes(&hub).await.is_empty());
        root.write("u/d/a", "x");
        assert_eq!(changes(&hub).await, [at("u/d", &head(&hub, "u/d").await)]);
    }

    #[tokio::test]
    async fn content_that_was_only_touched_is_no_change() {
        let root = Root::new();
        root.write("u/d/a", "x");
        root.write("u/e/a", "x");
        let hub = hub(root.path());
        changes(&hub).await;
        root.write("u/d/a", "x");
        root.write("u/e/a", "y");
        assert_eq!(changes(&hub).await, [at("u/e", &head(&hub, "u/e").await)]);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_read_has_lost_no_dataset() {
        let root = Root::new();
        root.write("hub/u/d/a", "x");
        let hub = hub(&root.join("hub"));
        changes(&hub).await;
        fs::rename(root.join("hub"), root.join("away")).unwrap();
        for _ in 0..3 {
            let outcome = tokio::time::timeout(TIME_MAX, hub.changes()).await.unwrap();
            assert!(
                matches!(&outcome, Err(error @ HubError::Folder(_)) if error.is_transient()),
                "{outcome:?}"
            );
        }
        fs::rename(root.join("away"), root.join("hub")).unwrap();
        root.write("hub/u/new/a", "x");
        assert_eq!(changes(&hub).await, [at("u/new", &head(&hub, "u/new").await)]);
    }
}
