//! What opening refuses, and what it says to do.

use std::process::Command;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mongodb::{Client, IndexModel};
use outpost_model::Priority;

use super::super::documents::response;
use super::super::{MongoConfig, MongoStore, OpenError};
use super::fresh;
use crate::authority::Authority;
use crate::contract::{T0, at_revision, dataset};
use crate::error::StorageError;
use crate::testing::mongod::{self, Kind};

fn at(url: &str) -> MongoConfig {
    MongoConfig {
        cache_database: "open_cache".into(),
        queue_database: "open_queue".into(),
        ..MongoConfig::new(url)
    }
}

async fn refusal(config: &MongoConfig) -> OpenError {
    match MongoStore::open(config).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// The server's URL with credentials.
fn as_user(url: &str, user: &str, password: &str) -> String {
    url.replace("mongodb://", &format!("mongodb://{user}:{password}@")) + "&authSource=admin"
}

#[tokio::test]
async fn an_unusable_url_or_name_is_refused_at_once() {
    for url in ["", "localhost", "http://localhost", "mongodb+srv://example.org/"] {
        assert!(matches!(refusal(&at(url)).await, OpenError::InvalidUrl(_)), "{url}");
    }
    for name in ["", "a b", "a.b", "a$", "a/b", "open_queue"] {
        let config = MongoConfig { cache_database: name.to_owned(), ..at("mongodb://localhost") };
        assert!(matches!(refusal(&config).await, OpenError::InvalidDatabase(_)), "{name:?}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_within_the_bound() {
    let error = refusal(&at("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300")).await;
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn a_standalone_server_is_refused_with_the_two_commands_that_fix_it() {
    let Some(server) = mongod::own(Kind::Standalone).await else { return };
    let error = refusal(&at(server.url())).await;
    assert_eq!(error, OpenError::Standalone);
    let text = error.to_string();
    assert!(text.contains("mongod --replSet") && text.contains("rs.initiate()"), "{text}");
    // It was left as it is.
    let names = server.client().await.list_database_names().await.unwrap();
    assert!(!names.contains(&"open_cache".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_set_that_was_never_initiated_is_named_whatever_the_url_says() {
    let Some(server) = mongod::own(Kind::Uninitiated).await else { return };
    for url in [
        server.url().replace("replicaSet=test", "directConnection=true"),
        server.url().to_owned() + "&serverSelectionTimeoutMS=500",
    ] {
        let error = refusal(&at(&url)).await;
        assert_eq!(error, OpenError::NotInitiated, "{url}");
        assert!(error.to_string().contains("rs.initiate()"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_named_within_the_bound() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepting = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let begun = Instant::now();
    let url = format!("mongodb://{address}/?serverSelectionTimeoutMS=500&connectTimeoutMS=200");
    let error = refusal(&at(&url)).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
    accepting.abort();
}

/// What a server on a full disk answers is given out by a fail point.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_server_is_named() {
    let Some(server) = mongod::own(Kind::ReplicaSet).await else { return };
    let admin = server.client().await.database("admin");
    let fail = async |command: &str| {
        let data = doc! {"failCommands": [command], "errorCode": 14_031, "appName": "outpost"};
        let fail = doc! {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data};
        admin.run_command(fail).await.unwrap();
    };
    fail("create").await;
    let error = refusal(&at(server.url())).await;
    assert!(matches!(error, OpenError::DiskFull(_)) && error.to_string().contains("make room"), "{error}");
    let store = MongoStore::open(&at(server.url())).await.unwrap();
    let event = at_revision("r1", Priority::Normal);
    fail("findAndModify").await;
    let error = store.submit(&dataset("u/d"), &event, T0).await.unwrap_err();
    assert!(error.to_string().contains("disk of the database server is full"), "{error}");
    store.submit(&dataset("u/d"), &event, T0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_to_a_server_that_hangs_end_and_work_again_when_it_goes_on() {
    let Some(server) = mongod::own(Kind::ReplicaSet).await else { return };
    let fast = "&serverSelectionTimeoutMS=500&connectTimeoutMS=500&heartbeatFrequencyMS=500";
    let store = MongoStore::open(&at(&(server.url().to_owned() + fast))).await.unwrap();
    store.position().await.unwrap();
    let pid = server.pid().await.to_string();
    let signal =
        |signal: &str| assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    signal("-STOP");
    // The signal reaches one thread of the server, which then stops the others: until then they answer.
    let failing = async {
        loop {
            if let Err(error) = store.position().await {
                return error;
            }
        }
    };
    let failed = tokio::time::timeout(Duration::from_secs(60), failing).await;
    signal("-CONT");
    let error = failed.expect("the calls end by themselves, and fail");
    assert!(matches!(error, StorageError::Unreachable(_)), "{error}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.position().await {
        assert!(Instant::now() < deadline, "{error}");
    }
}

#[tokio::test]
async fn credentials_and_rights_are_told_apart() {
    let Some(server) = mongod::own(Kind::Authenticated).await else { return };
    let root = Client::with_uri_str(as_user(server.url(), "root", "secret")).await.unwrap();
    let users = [
        ("reader", "read", "open_cache"),
        ("stranger", "readWrite", "elsewhere"),
        ("half", "readWrite", "open_cache"),
    ];
    for (user, role, database) in users {
        let roles = vec![doc! {"role": role, "db": database}, doc! {"role": "read", "db": "open_queue"}];
        let create = doc! {"createUser": user, "pwd": "pw", "roles": roles};
        root.database("admin").run_command(create).await.unwrap();
    }
    let roles =
        vec![doc! {"role": "readWrite", "db": "open_cache"}, doc! {"role": "readWrite", "db": "open_queue"}];
    root.database("admin")
        .run_command(doc! {"createUser": "writer", "pwd": "pw", "roles": roles})
        .await
        .unwrap();

    let unknown = refusal(&at(server.url())).await;
    assert!(matches!(unknown, OpenError::Forbidden { .. }), "{unknown}");
    let wrong = refusal(&at(&as_user(server.url(), "writer", "wrong"))).await;
    assert!(matches!(wrong, OpenError::Unauthenticated(_)), "{wrong}");
    for (user, refused) in [("reader", "open_cache"), ("stranger", "open_cache"), ("half", "open_queue")] {
        let error = refusal(&at(&as_user(server.url(), user, "pw"))).await;
        assert!(
            matches!(&error, OpenError::Forbidden { database, .. } if database == refused),
            "{user}: {error}"
        );
        assert!(error.to_string().contains("readWrite"), "{error}");
    }
    MongoStore::open(&at(&as_user(server.url(), "writer", "pw"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_have_the_names_that_mongoengine_gives_them_and_foreign_ones_stay() {
    let Some(subject) = fresh().await else { return };
    let database = subject.client.database(&subject.config.cache_database);
    let responses = database.collection::<Document>(response::COLLECTION);
    let foreign = IndexModel::builder().keys(doc! {"operators": 1}).build();
    responses.create_index(foreign).await.unwrap();
    let again = MongoStore::open(&subject.config).await.unwrap();
    assert_eq!(again.inner.epoch, subject.store().inner.epoch);
    let mut names = responses.list_index_names().await.unwrap();
    names.sort_unstable();
    let expected = [
        "_id_",
        "dataset_1_kind_1_http_status_1",
        "details.cause_exception_1_error_code_1_details.copied_from_artifact_1",
        "error_code_1_kind_1_details.copied_from_artifact_1",
        "http_status_1_error_code_1_kind_1_updated_at_1",
        "kind_1__id_1",
        "kind_1_dataset_1_config_1_split_1",
        "kind_1_http_status_1__id_1",
        "kind_1_http_status_1_error_code_1",
        "kind_1_http_status_1_updated_at_1",
        "kind_updated",
        "operators_1",
    ];
    assert_eq!(names, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_the_way_is_named_and_kept() {
    let Some(subject) = fresh().await else { return };
    let responses =
        subject.client.database(&subject.config.cache_database).collection::<Document>(response::COLLECTION);
    responses.drop_index("kind_1_dataset_1_config_1_split_1").await.unwrap();
    let keys = doc! {"kind": 1, "dataset": 1, "config": 1, "split": 1};
    responses.create_index(IndexModel::builder().keys(keys).build()).await.unwrap();
    let error = refusal(&subject.config).await;
    assert!(matches!(error, OpenError::IndexInTheWay { .. }), "{error}");
    assert!(error.to_string().contains("kind_1_dataset_1_config_1_split_1"), "{error}");
    assert_eq!(responses.list_index_names().await.unwrap().len(), 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_webhook_ids_are_dropped_beyond_a_number() {
    let Some(mongo) = fresh().await else { return };
    let store = mongo.store();
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let started = u64::try_from(started.as_millis()).unwrap();
    for number in 0..6 {
        let now = outpost_model::TimestampMs(started + number);
        store.inner.mark_webhook_taken(outpost_model::WebhookId(number.into()), now).await.unwrap();
    }
    store.inner.drop_surplus_webhooks(4).await.unwrap();
    for number in 0..6 {
        let taken = store.inner.webhook_taken(outpost_model::WebhookId(number)).await.unwrap();
        assert_eq!(taken, number >= 2, "{number}");
    }
}
