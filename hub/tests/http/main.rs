//! The HTTP client against a Hub that fails, redirects and lies.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod access;
mod answers;
mod listings;
mod redirects;
mod retries;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use outpost_harness::hub_stub::{Fault, Host, HubStub};
use outpost_hub::{Access, HttpHub, Hub, HubError};
use outpost_model::Visibility;
use outpost_model::limits::{HUB_JSON_BYTES_MAX, HUB_PAGES_MAX, HUB_REDIRECTS_MAX};

use support::{Root, client, client_with_token, dataset, head, options};

const INFO: &str = "/api/datasets/u/d";
const TREE: &str = "/api/datasets/u/d/tree";
const FILE: &str = "/datasets/u/d/resolve";
const TOKEN: &str = "hf_node";

/// A stub that serves `u/d` with one file `a.csv`.
fn stub() -> (Root, HubStub) {
    let root = Root::new();
    root.write("u/d/a.csv", "0123456789");
    let stub = HubStub::start(root.path()).unwrap();
    (root, stub)
}

async fn read(hub: &HttpHub, offset: u64, length: u64) -> Result<String, HubError> {
    let revision = hub.repo_info(&dataset("u/d"), None).await?.revision;
    let bytes = hub.read_range(&dataset("u/d"), &revision, "a.csv", offset, length).await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn info(hub: &HttpHub) -> Result<(), HubError> {
    hub.repo_info(&dataset("u/d"), None).await.map(drop)
}
