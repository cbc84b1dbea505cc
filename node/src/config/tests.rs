use std::collections::HashMap;
use std::time::Duration;

use clap::Parser;
use outpost_model::limits::{FirstRowsLimits, NamesLimits};
use outpost_storage::AssetPlace;

use super::*;
use crate::http::routes::admin::AdminPages;
use crate::http::server::Listen;

fn resolve_any(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
    let cli = Cli::try_parse_from([&["node"], arguments].concat()).map_err(|error| error.to_string())?;
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Config::resolve(&cli, &|name| variables.get(name).map(|value| (*value).to_owned()))
        .map_err(|error| error.to_string())
}

fn resolve_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<PrimaryConfig, String> {
    match resolve_any(arguments, variables)? {
        Config::Primary(config) => Ok(*config),
        other => Err(format!("not a primary: {other:?}")),
    }
}

/// A worker with the options that every worker needs.
fn resolve_worker(arguments: &[&str], variables: &[(&str, &str)]) -> Result<WorkerConfig, String> {
    let needed = ["--role", "worker", "--store", "mongodb://db", "--assets", "/srv/assets"];
    match resolve_any(&[&needed, arguments].concat(), variables)? {
        Config::Worker(config) => Ok(*config),
        other => Err(format!("not a worker: {other:?}")),
    }
}

fn workers(queues: &[Queue], count: usize) -> Workers {
    Workers { queues: queues.to_vec(), count }
}

fn resolve(arguments: &[&str]) -> Result<PrimaryConfig, String> {
    resolve_with(arguments, &[])
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.listen, Listen::Everywhere(8_000));
    assert_eq!(config.shared.hub, HubSource::Endpoint("https://huggingface.co".to_owned()));
    let usual = [workers(&[Queue::Datasets], 1), workers(&[Queue::Splits], 2)];
    assert_eq!((config.shared.workers, config.shared.guards), (usual.to_vec(), Guards::default()));
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!((config.store, config.assets), (StorePlace::Embedded, None));
    let limits = config.shared.limits;
    assert_eq!((limits.max_age_long_s, limits.max_age_short_s), (120, 10));
    assert_eq!(limits.first_rows, FirstRowsLimits::default());
    assert_eq!((config.webhook_secret, config.admin_token), (None, None));
}

#[test]
fn dataset_viewer_variables_set_the_limits() {
    let config = resolve_with(
        &[],
        &[
            ("FIRST_ROWS_MAX_BYTES", "1_000_000"),
            ("SPLIT_NAMES_MAX_NUMBER", "7"),
            ("API_MAX_AGE_SHORT", "0"),
            ("API_HF_TIMEOUT_SECONDS", "0.2"),
            ("API_HF_WEBHOOK_SECRET", "s"),
            ("HF_TOKEN", "hf_a"),
            ("COMMON_HF_TOKEN", "hf_b"),
            ("COMMON_BLOCKED_DATASETS", "a/b, c/*"),
            ("CONFIG_NAMES_MAX_NUMBER", " "),
            ("ADMIN_CACHE_REPORTS_NUM_RESULTS", "7"),
            ("WORKER_MAX_LOAD_PCT", "70"),
        ],
    )
    .unwrap();
    assert_eq!(config.shared.limits.first_rows.bytes_max, 1_000_000);
    assert_eq!(config.shared.limits.names, NamesLimits { configs_max: 4_000, splits_max: 7 });
    assert_eq!(config.shared.limits.max_age_short_s, 0);
    assert_eq!(config.shared.limits.hub_wait, Duration::from_millis(200));
    assert_eq!(config.webhook_secret.as_deref(), Some("s"));
    assert_eq!(config.shared.hub_token.as_deref(), Some("hf_a"));
    assert_eq!(config.shared.limits.admin_pages, AdminPages { reports: 7, reports_with_content: 100 });
    assert_eq!(config.shared.guards, Guards { load_pct_max: Some(70.0), ..Guards::default() });
    assert!(config.blocked.contains(&"c/x".parse().unwrap()));
}

#[test]
fn options_win_over_aliases() {
    let variables = [("API_HF_WEBHOOK_SECRET", "alias"), ("HF_TOKEN", "alias")];
    let config = resolve_with(&["--webhook-secret", "w", "--hub-token", "t"], &variables).unwrap();
    assert_eq!(config.webhook_secret.as_deref(), Some("w"));
    assert_eq!(config.shared.hub_token.as_deref(), Some("t"));
}

#[test]
fn wrong_values_are_one_sentence_that_names_the_option() {
    for arguments in [
        &["--role", "king"][..],
        &["--listen", "here"],
        &["--public-url", "ftp://x"],
        &["--hub", "/nonexistent/folder"],
        &["--store", "sqlite"],
        &["--workers", "datasets"],
        &["--workers", "datasets=1,datasets=2"],
        &["--workers", "cooks=1"],
        &["--max-staleness", "1 fortnight"],
        &["--upstream", "http://x:1"],
        &["--queue", "splits"],
        &["--sync-listen", "0.0.0.0:8001"],
        &["--admin-token", "short"],
        &["--assets", ""],
        &["--max-asset-size", "1MiB"],
        &["--asset-budget", "1GiB"],
    ] {
        let message = resolve(arguments).unwrap_err();
        assert!(message.contains(arguments[0]), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let message = resolve_with(&[], &[("FIRST_ROWS_MAX_BYTES", "many")]).unwrap_err();
    assert_eq!(message, "FIRST_ROWS_MAX_BYTES: 'many' is not a whole number, such as 200000");
}

#[test]
fn on_fly_the_process_group_is_the_role_and_the_app_the_public_url() {
    let machine = |group| [("FLY_APP_NAME", "viewer"), ("FLY_PROCESS_GROUP", group)];
    let config = resolve_with(&["--sync-token", "t"], &machine("primary")).unwrap();
    assert_eq!(config.public_url.as_deref(), Some("https://viewer.fly.dev"));
    let message = resolve_with(&[], &machine("worker")).unwrap_err();
    assert!(message.contains("--role worker needs"), "{message}");
    // What is given wins.
    let given = ["--role", "primary", "--public-url", "https://viewer.example", "--sync-token", "t"];
    let config = resolve_with(&given, &machine("worker")).unwrap();
    assert_eq!(config.public_url.as_deref(), Some("https://viewer.example"));
}

#[test]
fn on_fly_a_primary_outside_of_the_primary_region_is_refused() {
    let variables = [("FLY_APP_NAME", "viewer"), ("FLY_REGION", "nrt"), ("PRIMARY_REGION", "ams")];
    for arguments in [&[][..], &["--role", "primary"]] {
        let message = resolve_with(arguments, &variables).unwrap_err();
        assert!(message.contains("primary region ams"), "{message}");
    }
}

/// A replica with the option that every replica needs.
fn resolve_replica(arguments: &[&str], variables: &[(&str, &str)]) -> Result<ReplicaConfig, String> {
    match resolve_any(&[&["--role", "replica"], arguments].concat(), variables)? {
        Config::Replica(config) => Ok(*config),
        other => Err(format!("not a replica: {other:?}")),
    }
}

#[test]
fn a_replica_follows_its_upstreams_in_the_order_given() {
    let given = ["--upstream", "http://a:8001/,https://b", "--upstream", "http://[::1]:8001"];
    let config = resolve_replica(&given, &[]).unwrap();
    assert_eq!(config.upstreams, ["http://a:8001", "https://b", "http://[::1]:8001"]);
    assert_eq!((config.sync, config.staleness_max), (None, Duration::from_secs(60)));
    assert_eq!(config.visibility_age_max, Duration::from_secs(3_600));
    let fly = resolve_replica(&[], &[("FLY_APP_NAME", "viewer")]).unwrap();
    assert_eq!(fly.upstreams, ["http://primary.process.viewer.internal:8001"]);
}

#[test]
fn a_replica_needs_an_upstream_and_takes_no_option_of_those_that_compute() {
    for (arguments, named) in [
        (&[][..], "--upstream"),
        (&["--upstream", "primary:8001"], "--upstream"),
        (&["--upstream", "http://a/b"], "--upstream"),
        (&["--upstream", "http://a", "--hub", "."], "--hub"),
        (&["--upstream", "http://a", "--store", "embedded"], "--store"),
        (&["--upstream", "http://a", "--workers", "1"], "--workers"),
        (&["--upstream", "http://a", "--queue", "splits"], "--queue"),
        (&["--upstream", "http://a", "--assets", "x"], "--assets"),
        (&["--upstream", "http://a", "--sync-listen", "0.0.0.0:1"], "--sync-token"),
        (&["--upstream", "http://a", "--sync-token", "two words"], "--sync-token"),
        (&["--upstream", "http://a", "--max-visibility-age", "long"], "--max-visibility-age"),
        (&["--upstream", "http://a", "--max-asset-size", "65MiB"], "at most 64MiB"),
        (&["--upstream", "http://a", "--max-asset-size", "16"], "--max-asset-size: '16' is not a size"),
        (&["--upstream", "http://a", "--max-asset-size=-1KiB"], "--max-asset-size"),
        (&["--upstream", "http://a", "--asset-budget", "4 GB"], "--asset-budget: '4 GB' is not a size"),
        (&["--upstream", "http://a", "--asset-budget", "99999999999TiB"], "--asset-budget"),
        (
            &["--upstream", "http://a", "--asset-budget", "1MiB", "--max-asset-size", "2MiB"],
            "raise the budget",
        ),
    ] {
        let message = resolve_replica(arguments, &[]).unwrap_err();
        assert!(message.contains(named) && !message.contains('\n'), "{message}");
    }
}

#[test]
fn a_replica_keeps_assets_within_the_bounds_that_it_is_given() {
    let bounds = |arguments: &[&str]| {
        let assets = resolve_replica(&[&["--upstream", "http://a"], arguments].concat(), &[]).unwrap().assets;
        (assets.asset_bytes_max, assets.budget_bytes)
    };
    assert_eq!(bounds(&[]), (16 << 20, 4 << 30));
    assert_eq!(bounds(&["--max-asset-size", "512KiB", "--asset-budget", "2TiB"]), (512 << 10, 2 << 40));
    assert_eq!(bounds(&["--asset-budget", "3MiB"]), (3 << 20, 3 << 20));
    assert_eq!(bounds(&["--asset-budget", "0"]), (0, 0));
    assert_eq!(bounds(&["--max-asset-size", "0"]), (0, 4 << 30));
}

#[test]
fn assets_are_kept_in_a_folder_or_a_bucket() {
    assert_eq!(resolve(&[]).unwrap().assets, None);
    for place in ["./assets", "s3://bucket", "s3://bucket/some/prefix"] {
        let assets = resolve(&["--assets", place]).unwrap().assets.unwrap();
        assert_eq!(assets.to_string(), place);
    }
    for wrong in ["s3://", "s3://B/x", "s3://bucket//x", "gs://bucket"] {
        let message = resolve(&["--assets", wrong]).unwrap_err();
        assert!(message.starts_with(&format!("--assets: '{wrong}' is not a folder or s3://")), "{message}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(resolve(&["--assets", file.path().to_str().unwrap()]).is_err());
}

#[test]
fn listening_everywhere_falls_back_to_ipv4() {
    assert_eq!(resolve(&["--listen", "[::]:9"]).unwrap().listen, Listen::Everywhere(9));
    let at = |text: &str| Listen::At(text.parse().unwrap());
    assert_eq!(resolve(&["--listen", "127.0.0.1:0"]).unwrap().listen, at("127.0.0.1:0"));
    assert_eq!(resolve(&["--listen", "localhost:80"]).unwrap().listen, at("127.0.0.1:80"));
}

#[test]
fn workers_may_be_none() {
    assert_eq!(resolve(&["--workers", "0"]).unwrap().shared.workers, []);
    let config = resolve(&["--workers", "datasets=0,splits=3"]).unwrap();
    assert_eq!(config.shared.workers, [workers(&[Queue::Splits], 3)]);
}

#[test]
fn a_worker_takes_one_job_at_a_time_from_both_queues_unless_told() {
    let config = resolve_worker(&[], &[]).unwrap();
    assert_eq!(config.shared.workers, [workers(&Queue::ALL, 1)]);
    assert_eq!(config.listen, Listen::At("127.0.0.1:0".parse().unwrap()));
    assert_eq!(config.assets, AssetPlace::Folder(PathBuf::from("/srv/assets")));
    let eighty = Some(80.0);
    let guards = Guards { memory_pct_max: eighty, system_memory_pct_max: eighty, load_pct_max: None };
    assert_eq!(config.shared.guards, guards);
    for (arguments, expected) in [
        (&["--queue", "splits", "--workers", "4"][..], vec![workers(&[Queue::Splits], 4)]),
        (&["--queue", "splits,datasets"], vec![workers(&[Queue::Splits, Queue::Datasets], 1)]),
        (
            &["--workers", "datasets=1,splits=2"],
            vec![workers(&[Queue::Datasets], 1), workers(&[Queue::Splits], 2)],
        ),
    ] {
        assert_eq!(resolve_worker(arguments, &[]).unwrap().shared.workers, expected, "{arguments:?}");
    }
}

#[test]
fn a_worker_without_what_it_shares_says_what_to_do() {
    for (arguments, mentions) in [
        (&["--role", "worker"][..], "mongodb://"),
        (&["--role", "worker", "--store", "embedded", "--assets", "/a"], "mongodb://"),
        (&["--role", "worker", "--store", "mongodb://db"], "--assets"),
    ] {
        let message = resolve_any(arguments, &[]).unwrap_err();
        assert!(message.contains("--role worker needs") && message.contains(mentions), "{message}");
    }
    for arguments in [
        &["--queue", "cooks"][..],
        &["--workers", "0"],
        &["--workers", "datasets=0"],
        &["--workers", "1000"],
        &["--queue", "splits", "--workers", "datasets=1"],
        &["--public-url", "http://x"],
        &["--upstream", "http://x:1"],
    ] {
        let message = resolve_worker(arguments, &[]).unwrap_err();
        assert!(message.contains(arguments[0]), "{message}");
    }
}

#[test]
fn dataset_viewer_variables_name_the_database_and_the_worker_listener() {
    let variables = [
        ("CACHE_MONGO_URL", "mongodb://u:p@db"),
        ("QUEUE_MONGO_URL", "mongodb://u:p@db"),
        ("CACHE_MONGO_DATABASE", "datasets_server_cache"),
        ("WORKER_UVICORN_HOSTNAME", "0.0.0.0"),
        ("WORKER_UVICORN_PORT", "8080"),
        ("WORKER_MAX_MEMORY_PCT", "0"),
        ("WORKER_DIFFICULTY_MIN", "40"),
        ("WORKER_DIFFICULTY_MAX", "70"),
    ];
    let arguments = ["--role", "worker", "--assets", "/a"];
    let Config::Worker(config) = resolve_any(&arguments, &variables).unwrap() else { panic!("a worker") };
    assert_eq!(
        config.store,
        MongoPlace {
            url: "mongodb://u:p@db".to_owned(),
            cache_database: "datasets_server_cache".to_owned(),
            queue_database: "dataset_viewer_queue".to_owned(),
        }
    );
    assert!(!format!("{config:?}").contains("u:p"));
    assert_eq!(config.listen, Listen::At("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(config.shared.guards.memory_pct_max, None);
    assert_eq!(config.shared.difficulty, DifficultyRange { above: Some(40), up_to: Some(70) });
    let none_left = [("WORKER_DIFFICULTY_MIN", "70"), ("WORKER_DIFFICULTY_MAX", "70")];
    assert!(resolve_worker(&[], &none_left).unwrap_err().contains("leave no job"));
    assert_eq!(resolve_worker(&[], &[]).unwrap().shared.difficulty, DifficultyRange::ALL);
    let apart = [("CACHE_MONGO_URL", "mongodb://a"), ("QUEUE_MONGO_URL", "mongodb://b")];
    assert!(resolve_any(&arguments, &apart).unwrap_err().contains("one replica set"));
    // The option wins.
    let config = resolve_with(&["--store", "embedded"], &variables).unwrap();
    assert_eq!(config.store, StorePlace::Embedded);
}
