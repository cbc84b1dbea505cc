//! The units for bare metal.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use outpost_model::limits;

use crate::options::{option_of, with_variables};
use crate::{path, read};

const UNITS: [&str; 3] = ["outpost-primary.service", "outpost-replica.service", "outpost-worker@.service"];

/// Settings of a unit, each with its values in order.
type Unit = BTreeMap<String, Vec<String>>;

fn unit(name: &str) -> Unit {
    let mut unit = Unit::new();
    for line in read(&format!("deploy/systemd/{name}")).lines() {
        if line.is_empty() || line.starts_with(['#', '[']) {
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
        unit.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    unit
}

fn one<'a>(unit: &'a Unit, key: &str) -> &'a str {
    match unit.get(key).map(Vec::as_slice) {
        Some([value]) => value,
        other => panic!("{key}: {other:?}"),
    }
}

fn units() -> impl Iterator<Item = (&'static str, Unit)> {
    UNITS.into_iter().map(|name| (name, unit(name)))
}

/// The longest time that a node takes to stop: jobs that run on, leases given back, a thread that does not listen.
pub fn stop_time() -> Duration {
    let workers_ms = limits::DRAIN_MS + limits::STOP_GRACE_MS + limits::CANCEL_GRACE_MS;
    Duration::from_millis(workers_ms.max(limits::SHUTDOWN_GRACE_MS) + limits::EXIT_GRACE_MS)
}

#[test]
fn every_unit_of_the_directory_is_looked_at() {
    let mut found: Vec<String> = fs::read_dir(path("deploy/systemd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".service"))
        .collect();
    found.sort();
    assert_eq!(found, UNITS);
}

#[test]
fn commands_have_options_that_the_node_has() {
    for (name, unit) in units() {
        let command = one(&unit, "ExecStart");
        let (program, arguments) = command.split_once(' ').unwrap();
        assert_eq!(program, "/usr/local/bin/node", "{name}");
        let role = name.split(['-', '@', '.']).nth(1).unwrap();
        assert!(arguments.starts_with(&format!("--role {role}")), "{name}: {arguments}");
        let arguments = arguments.replace("%i", "datasets");
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let variables = unit.get("Environment").into_iter().flatten();
        let variables = variables.map(|pair| pair.split_once('=').unwrap());
        let all = with_variables(&arguments, variables);
        let parsed = <outpost_node::cli::Cli as clap::Parser>::try_parse_from(
            ["node".to_owned()].into_iter().chain(all),
        );
        assert!(parsed.is_ok(), "{name}: {parsed:?}");
        assert_eq!(one(&unit, "EnvironmentFile"), format!("/etc/outpost/{role}.env"), "{name}");
    }
}

#[test]
fn the_example_names_variables_that_the_node_has() {
    let example = read("deploy/systemd/outpost.env.example");
    let names: Vec<&str> = example
        .lines()
        .map(|line| line.trim_start_matches('#'))
        .filter(|line| line.starts_with("OUTPOST_"))
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(option_of(name).is_some(), "{name}");
    }
}

#[test]
fn a_stop_has_more_time_than_a_node_needs_to_drain() {
    for (name, unit) in units() {
        let patience = Duration::from_secs(one(&unit, "TimeoutStopSec").parse().unwrap());
        assert!(patience > stop_time(), "{name}");
        assert_eq!(one(&unit, "KillSignal"), "SIGTERM", "{name}");
    }
}

#[test]
fn a_crash_is_started_again_and_a_wrong_option_is_not() {
    for (name, unit) in units() {
        assert_eq!(one(&unit, "Restart"), "on-failure", "{name}");
        assert_eq!(one(&unit, "RestartPreventExitStatus"), "2", "{name}");
        assert_eq!(one(&unit, "StartLimitIntervalSec"), "0", "{name}");
    }
}

#[test]
fn memory_and_open_files_are_bounded() {
    for (name, unit) in units() {
        assert!(one(&unit, "MemoryMax").ends_with('G'), "{name}");
        // A connection is a file, and the store has some of its own.
        let files: usize = one(&unit, "LimitNOFILE").parse().unwrap();
        assert!(files > 2 * limits::REQUESTS_IN_FLIGHT_MAX, "{name}");
    }
}

#[test]
fn a_unit_can_write_its_state_and_assets_only() {
    for (name, unit) in units() {
        for (key, value) in [
            ("User", "outpost"),
            ("NoNewPrivileges", "yes"),
            ("CapabilityBoundingSet", ""),
            ("ProtectSystem", "strict"),
            ("ProtectHome", "yes"),
            ("PrivateTmp", "yes"),
            ("MemoryDenyWriteExecute", "yes"),
        ] {
            assert_eq!(one(&unit, key), value, "{name}");
        }
        // Workers read the machine's memory and load there.
        assert!(!unit.contains_key("ProcSubset"), "{name}");
        let state = unit.get("StateDirectory");
        match state.map(Vec::as_slice) {
            Some([state]) => assert_eq!(one(&unit, "Environment"), format!("OUTPOST_DATA_DIR=%S/{state}")),
            None => assert!(name.starts_with("outpost-worker@")),
            other => panic!("{name}: {other:?}"),
        }
        let writable = unit.get("ReadWritePaths").cloned().unwrap_or_default();
        assert!(writable.is_empty() || writable == ["-/srv/outpost-assets"], "{name}");
    }
}
