//! fly.toml, next to the facts about fly.io that it relies on.

use std::time::Duration;

use outpost_model::limits;
use outpost_node::config::Config;
use outpost_node::http::server::Listen;
use toml::{Table, Value};

use crate::options::{resolve, with_variables};
use crate::read;

const GROUPS: [&str; 2] = ["primary", "replica"];
/// Where replicas dial a primary, by `primary.process.APP.internal`.
const SYNC_PORT: i64 = 8_001;

fn fly() -> Table {
    read("fly.toml").parse().unwrap()
}

/// The value at a path of names.
fn at(table: &Table, path: &str) -> Value {
    let mut names = path.split('.');
    let first = &table[names.next().unwrap()];
    names.fold(first, |value, name| value.get(name).unwrap_or_else(|| panic!("no {path}"))).clone()
}

fn text(table: &Table, path: &str) -> String {
    at(table, path).as_str().unwrap().to_owned()
}

fn tables(table: &Table, path: &str) -> Vec<Table> {
    at(table, path).as_array().unwrap().iter().map(|value| value.as_table().unwrap().clone()).collect()
}

fn groups(table: &Table) -> Vec<String> {
    let names = table["processes"].as_array().unwrap();
    names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The one table of an array that is for a process group.
fn of_group(all: &[Table], group: &str) -> Table {
    let mut found = all.iter().filter(|table| groups(table) == [group]);
    let table = found.next().unwrap_or_else(|| panic!("nothing for {group}")).clone();
    assert!(found.next().is_none(), "two for {group}");
    table
}

fn seconds(table: &Table, path: &str) -> u64 {
    let text = text(table, path);
    let (count, unit) = text.split_at(text.len() - 1);
    let count: u64 = count.parse().unwrap();
    match unit {
        "s" => count,
        "m" => count * 60,
        "h" => count * 3_600,
        other => panic!("{path}: unit {other}"),
    }
}

/// The options of a process group: its command, the file's variables, those of the image, and the secrets.
fn arguments(group: &str) -> Vec<String> {
    let fly = fly();
    let command = text(&fly, &format!("processes.{group}"));
    let words: Vec<&str> = command.split_whitespace().collect();
    let environment = at(&fly, "env");
    let image = crate::dockerfile::environment();
    let image = image.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let file = environment.as_table().unwrap().iter();
    let file = file.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    // A variable that is in two of them would be refused as given twice.
    let secrets = [("OUTPOST_SYNC_TOKEN", "0123456789abcdef0123456789abcdef")];
    with_variables(&words, image.chain(file).chain(secrets))
}

/// What the platform tells a machine of a group.
fn machine<'a>(group: &'a str, app: &'a str, region: &'a str, primary: &'a str) -> [(&'a str, &'a str); 4] {
    [("FLY_APP_NAME", app), ("FLY_PROCESS_GROUP", group), ("FLY_REGION", region), ("PRIMARY_REGION", primary)]
}

#[test]
fn process_groups_are_named_after_roles_as_the_node_reads_the_role_and_the_upstream_from_them() {
    let fly = fly();
    let processes = at(&fly, "processes");
    let names: Vec<&String> = processes.as_table().unwrap().keys().collect();
    assert_eq!(names, GROUPS);
    for group in GROUPS {
        // The command of a group replaces CMD and is given to ENTRYPOINT: options only, no program.
        assert_eq!(text(&fly, &format!("processes.{group}")), format!("--role {group}"));
    }
}

#[test]
fn the_primary_takes_every_option_and_variable_and_listens_where_the_proxy_connects() {
    let fly = fly();
    let (app, region) = (text(&fly, "app"), text(&fly, "primary_region"));
    let environment = machine("primary", &app, &region, &region);
    let Config::Primary(config) = resolve(&arguments("primary"), &environment).unwrap() else {
        panic!("not a primary")
    };
    let port = u16::try_from(at(&fly, "http_service.internal_port").as_integer().unwrap()).unwrap();
    // The proxy comes over IPv4, the private network over IPv6: all addresses of both families.
    assert_eq!(config.listen, Listen::Everywhere(port));
    assert_eq!(config.public_url, Some(format!("https://{app}.fly.dev")));
    let mounts = tables(&fly, "mounts");
    assert_eq!(config.data_dir.to_str(), of_group(&mounts, "primary")["destination"].as_str());
}

#[test]
fn a_replica_is_told_nothing_but_its_group_and_the_token_and_follows_the_primary() {
    let fly = fly();
    let (app, region) = (text(&fly, "app"), text(&fly, "primary_region"));
    let environment = machine("replica", &app, "nrt", &region);
    let Config::Replica(config) = resolve(&arguments("replica"), &environment).unwrap() else {
        panic!("not a replica")
    };
    // A name of the private network, resolved at each connection: addresses there change.
    assert_eq!(config.upstreams, [format!("http://primary.process.{app}.internal:{SYNC_PORT}")]);
    assert!(config.token.is_some() && config.sync.is_none());
    let port = u16::try_from(at(&fly, "http_service.internal_port").as_integer().unwrap()).unwrap();
    assert_eq!(config.listen, Listen::Everywhere(port));
    assert_eq!(config.public_url, Some(format!("https://{app}.fly.dev")));
    assert_eq!(
        config.data_dir.to_str(),
        of_group(&tables(&fly, "mounts"), "replica")["destination"].as_str()
    );
    // Past either, the replica is of no use to readers.
    assert_eq!(config.staleness_max, config.visibility_age_max);
}

#[test]
fn the_primary_listens_for_replicas_on_the_private_network() {
    let fly = fly();
    let (app, region) = (text(&fly, "app"), text(&fly, "primary_region"));
    let environment = machine("primary", &app, &region, &region);
    let Config::Primary(config) = resolve(&arguments("primary"), &environment).unwrap() else {
        panic!("not a primary")
    };
    let listener = config.sync.unwrap();
    assert_eq!(listener.listen, Listen::Everywhere(u16::try_from(SYNC_PORT).unwrap()));
    assert!(listener.token.is_some());
}

#[test]
fn a_primary_in_another_region_refuses_to_start_as_it_would_begin_a_second_history() {
    let message = resolve(&arguments("primary"), &machine("primary", "viewer", "nrt", "ams")).unwrap_err();
    assert!(message.contains("primary region ams"), "{message}");
}

#[test]
fn no_secret_is_in_the_file_as_secrets_come_from_fly_secrets() {
    let fly = fly();
    for (name, value) in at(&fly, "env").as_table().unwrap() {
        for word in ["TOKEN", "SECRET", "KEY", "PASSWORD", "MONGO", "STORE"] {
            assert!(!name.contains(word), "{name}");
        }
        // The platform refuses names of its own.
        assert!(!name.starts_with("FLY_") && name != "PRIMARY_REGION", "{name}");
        assert!(!value.as_str().unwrap().contains('@'), "{name}");
    }
}

#[test]
fn one_http_service_has_both_groups_so_that_each_reader_meets_the_nearest_node() {
    let fly = fly();
    let service = at(&fly, "http_service").as_table().unwrap().clone();
    assert_eq!(groups(&service), GROUPS);
    assert_eq!(service["force_https"].as_bool(), Some(true));
    assert!(!fly.contains_key("services"));
}

#[test]
fn the_listener_for_nodes_is_in_no_service_so_that_only_the_private_network_reaches_it() {
    let fly = fly();
    assert_ne!(at(&fly, "http_service.internal_port").as_integer(), Some(SYNC_PORT));
    assert_eq!(at(&fly, "checks.sync.port").as_integer(), Some(SYNC_PORT));
    assert_eq!(groups(at(&fly, "checks.sync").as_table().unwrap()), ["primary"]);
}

#[test]
fn nothing_is_stopped_when_idle_as_following_the_feed_is_no_load_that_the_proxy_sees() {
    assert_eq!(text(&fly(), "http_service.auto_stop_machines"), "off");
}

#[test]
fn the_proxy_is_told_fewer_requests_than_a_node_answers_at_the_same_time() {
    let concurrency = at(&fly(), "http_service.concurrency").as_table().unwrap().clone();
    assert_eq!(concurrency["type"].as_str(), Some("requests"));
    let limit = |name: &str| usize::try_from(concurrency[name].as_integer().unwrap()).unwrap();
    assert!(limit("soft_limit") < limit("hard_limit"));
    assert!(limit("hard_limit") < limits::REQUESTS_IN_FLIGHT_MAX);
}

#[test]
fn the_service_check_asks_ready_as_only_service_checks_steer_requests() {
    let checks = tables(&fly(), "http_service.checks");
    let [check] = &checks[..] else { panic!("one check") };
    // A redirect counts as a failure: the path is the one that is served.
    assert_eq!((text(check, "method").as_str(), text(check, "path").as_str()), ("GET", "/ready"));
    assert!(seconds(check, "interval") <= 15 && seconds(check, "timeout") < seconds(check, "interval"));
    assert!(seconds(check, "grace_period") >= 10, "a store of a million entries opens in seconds");
}

#[test]
fn each_group_has_a_check_of_its_own_as_service_checks_say_nothing_about_the_listener_for_nodes() {
    let fly = fly();
    let checks = at(&fly, "checks");
    let checks: Vec<Table> =
        checks.as_table().unwrap().values().map(|check| check.as_table().unwrap().clone()).collect();
    for (group, port) in [
        ("primary", SYNC_PORT),
        // A replica has no such listener unless it is told to.
        ("replica", at(&fly, "http_service.internal_port").as_integer().unwrap()),
    ] {
        let check = of_group(&checks, group);
        assert_eq!((text(&check, "type").as_str(), text(&check, "method").as_str()), ("http", "GET"));
        assert_eq!(check["port"].as_integer(), Some(port));
        // Both listeners answer it without a token. Not /ready: a replica that is stale is alive.
        assert_eq!(text(&check, "path"), "/healthcheck");
    }
}

#[test]
fn deploys_are_rolling_as_canary_and_bluegreen_refuse_machines_with_volumes() {
    let fly = fly();
    assert_eq!(text(&fly, "deploy.strategy"), "rolling");
    assert_eq!(at(&fly, "deploy.max_unavailable").as_integer(), Some(1));
    // 2 GB at the 16 MiB/s of the smallest machine, with room.
    assert!(seconds(&fly, "deploy.wait_timeout") >= 5 * 60);
}

#[test]
fn no_release_command_as_its_machine_has_no_volume() {
    assert!(!at(&fly(), "deploy").as_table().unwrap().contains_key("release_command"));
}

#[test]
fn a_stop_takes_sigterm_and_more_time_than_a_primary_needs_to_drain() {
    let fly = fly();
    assert_eq!(text(&fly, "kill_signal"), "SIGTERM");
    let kill_timeout = Duration::from_secs(u64::try_from(fly["kill_timeout"].as_integer().unwrap()).unwrap());
    // The signal after kill_timeout is a second one, which ends the node at once.
    assert!(kill_timeout > crate::systemd::stop_time());
    assert!(kill_timeout <= Duration::from_secs(300), "the platform allows no more");
}

#[test]
fn each_group_has_a_volume_name_of_its_own_as_a_replica_must_not_open_the_store_of_a_primary() {
    let mounts = tables(&fly(), "mounts");
    let [primary, replica] = GROUPS.map(|group| of_group(&mounts, group));
    assert_ne!(primary["source"], replica["source"]);
    for mount in [&primary, &replica] {
        assert_eq!(text(mount, "destination"), "/data");
        assert!(mount.contains_key("initial_size"));
        // Growth needs all three.
        for name in ["auto_extend_size_threshold", "auto_extend_size_increment", "auto_extend_size_limit"] {
            assert!(mount.contains_key(name), "{name}");
        }
    }
}

#[test]
fn snapshots_are_of_the_primary_only_as_the_store_of_a_replica_is_a_copy() {
    let mounts = tables(&fly(), "mounts");
    assert_eq!(of_group(&mounts, "replica")["scheduled_snapshots"].as_bool(), Some(false));
    assert!(!of_group(&mounts, "primary").contains_key("scheduled_snapshots"), "on by default");
}

#[test]
fn a_lost_primary_takes_no_replica_out_of_the_proxy_before_visibilities_expire() {
    let staleness = Duration::from_secs(seconds(&fly(), "env.OUTPOST_MAX_STALENESS"));
    assert_eq!(staleness, Duration::from_millis(limits::VISIBILITY_AGE_MS_MAX));
}

#[test]
fn each_group_has_its_machine_and_the_primary_cores_of_its_own() {
    let machines = tables(&fly(), "vm");
    assert!(text(&of_group(&machines, "primary"), "size").starts_with("performance-"));
    assert!(of_group(&machines, "replica").contains_key("memory"));
}

#[test]
fn metrics_are_read_where_the_node_serves_them() {
    let fly = fly();
    assert_eq!(at(&fly, "metrics.port"), at(&fly, "http_service.internal_port"));
    assert_eq!(text(&fly, "metrics.path"), "/metrics");
}

#[test]
fn the_image_is_built_from_the_dockerfile_of_the_repository() {
    assert!(crate::path(&text(&fly(), "build.dockerfile")).is_file());
}
