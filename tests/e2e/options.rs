//! The command line from outside: one clear line and exit code 2.

use std::path::Path;
use std::process::{Output, Stdio};

use outpost_harness::node_process::command;

fn node(arguments: &[&str]) -> Output {
    let binary = Path::new(env!("CARGO_BIN_EXE_node"));
    command(binary).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

#[test]
fn a_wrong_option_is_one_line_and_exit_code_2() {
    for (arguments, mentions) in [
        (&["--role", "king"][..], "--role"),
        (&["--no-such-option"], "--no-such-option"),
        (&["--listen"], "--listen"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--hub", "/no/such/folder"], "--hub"),
        (&["--mirror-private", "maybe"], "--mirror-private"),
        (&["--role", "worker"], "--store mongodb://"),
        (&["--role", "worker", "--store", "mongodb://x"], "--assets"),
        (&["--role", "worker", "--store", "embedded", "--assets", "/tmp"], "mongodb://"),
        (&["--role", "replica"], "needs --upstream"),
        (&["--role", "replica", "--upstream", "http://x", "--max-asset-size", "1GiB"], "at most 64MiB"),
        (&["fly"], "fly"),
    ] {
        let output = node(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("node: ") && stderr.contains(mentions), "{stderr}");
    }
}

#[test]
fn a_wrong_variable_is_refused_like_an_option() {
    let binary = Path::new(env!("CARGO_BIN_EXE_node"));
    for (name, value) in
        [("OUTPOST_LISTEN", "nowhere"), ("FIRST_ROWS_MAX_BYTES", "many"), ("RUST_LOG", "a=b=c")]
    {
        let output = command(binary).env(name, value).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
}

#[test]
fn the_help_explains_every_option_and_its_variable() {
    let output = node(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for option in [
        "role",
        "listen",
        "public-url",
        "data-dir",
        "hub",
        "hub-token",
        "store",
        "assets",
        "workers",
        "queue",
        "upstream",
        "sync-listen",
        "sync-token",
        "webhook-secret",
        "admin-token",
        "max-staleness",
        "max-visibility-age",
        "max-asset-size",
        "asset-budget",
        "mirror-private",
    ] {
        assert!(help.contains(&format!("--{option} ")), "{option}");
        let variable = format!("OUTPOST_{}", option.to_uppercase().replace('-', "_"));
        assert!(help.contains(&variable), "{variable}");
    }
}

#[test]
fn an_address_in_use_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let arguments =
        ["--listen", &address, "--data-dir", data.path().to_str().unwrap(), "--hub", "http://127.0.0.1:1"];
    let output = node(&arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("node: ") && last.contains("--listen"), "{stderr}");
}
