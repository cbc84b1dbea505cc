use std::collections::HashMap;

use clap::Parser;

use super::*;

fn resolve_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<PrimaryConfig, String> {
    let cli = Cli::try_parse_from([&["node"], arguments].concat()).map_err(|error| error.to_string())?;
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    PrimaryConfig::resolve(&cli, &|name| variables.get(name).map(|value| (*value).to_owned()))
        .map_err(|error| error.to_string())
}

fn resolve(arguments: &[&str]) -> Result<PrimaryConfig, String> {
    resolve_with(arguments, &[])
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.listen, Listen::Everywhere(8_000));
    assert_eq!(config.hub, HubSource::Endpoint("https://huggingface.co".to_owned()));
    assert_eq!(config.workers, [(Queue::Datasets, 1), (Queue::Splits, 2)]);
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!((config.limits.max_age_long_s, config.limits.max_age_short_s), (120, 10));
    assert_eq!(config.limits.first_rows, FirstRowsLimits::default());
    assert_eq!(config.webhook_secret, None);
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
        ],
    )
    .unwrap();
    assert_eq!(config.limits.first_rows.bytes_max, 1_000_000);
    assert_eq!(config.limits.names, NamesLimits { configs_max: 4_000, splits_max: 7 });
    assert_eq!(config.limits.max_age_short_s, 0);
    assert_eq!(config.limits.hub_wait, Duration::from_millis(200));
    assert_eq!(config.webhook_secret.as_deref(), Some("s"));
    assert_eq!(config.hub_token.as_deref(), Some("hf_a"));
    assert!(config.blocked.contains(&"c/x".parse().unwrap()));
}

#[test]
fn options_win_over_aliases() {
    let variables = [("API_HF_WEBHOOK_SECRET", "alias"), ("HF_TOKEN", "alias")];
    let config = resolve_with(&["--webhook-secret", "w", "--hub-token", "t"], &variables).unwrap();
    assert_eq!(config.webhook_secret.as_deref(), Some("w"));
    assert_eq!(config.hub_token.as_deref(), Some("t"));
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
    ] {
        let message = resolve(arguments).unwrap_err();
        assert!(message.contains(arguments[0]), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let message = resolve_with(&[], &[("FIRST_ROWS_MAX_BYTES", "many")]).unwrap_err();
    assert_eq!(message, "FIRST_ROWS_MAX_BYTES: 'many' is not a whole number, such as 200000");
}

#[test]
fn what_is_not_built_says_so_and_what_works() {
    for arguments in [
        &["--role", "worker"][..],
        &["--role", "replica", "--upstream", "http://x:1"],
        &["--store", "mongodb://localhost"],
        &["--sync-listen", "127.0.0.1:8001"],
        &["demo"],
        &["status"],
        &["refresh", "u/d"],
        &["rows", "u/d"],
    ] {
        let message = resolve(arguments).unwrap_err();
        assert!(message.contains("is not built yet") && message.contains("node --hub"), "{message}");
    }
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
    assert_eq!(resolve(&["--workers", "0"]).unwrap().workers, []);
    assert_eq!(resolve(&["--workers", "datasets=0,splits=3"]).unwrap().workers, [(Queue::Splits, 3)]);
}
