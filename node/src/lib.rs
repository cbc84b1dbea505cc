//! The `node` program as a library: command line, roles, HTTP API.
//!
//! Owns how the parts are put together; `main.rs` only calls [`main`]. The other crates of the workspace do the work.
//! A wrong value is one line on stderr and exit code 2, a part that cannot start one line and exit code 1.

pub mod admin_token;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod demo;
pub mod feed;
pub mod http;
pub mod intake;
pub mod logging;
pub mod metrics;
pub mod misses;
pub mod outbox;
pub mod recent;
pub mod role;
pub mod shutdown;
pub mod support;
pub mod sync_api;
#[cfg(test)]
mod testing;
pub mod upstream;
pub mod vantage;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use outpost_model::limits;
use outpost_storage::StorageError;
use tokio_util::sync::CancellationToken;

use cli::Cli;
use config::{Config, ConfigError};
use role::Ended;

const USAGE_ERROR: u8 = 2;

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return complain(&one_line(&error), USAGE_ERROR),
        Err(help) => {
            let shown = help.print();
            return if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    if let Some(command) = &cli.command {
        return match client::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), error.exit_code()),
        };
    }
    let config = match configure(&cli) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string(), USAGE_ERROR),
    };
    match run(config) {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::Reopen(cause)) => start_anew(&cause),
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

/// Puts a new run of this program in the place of this one: same process, same command line, nothing kept. Where that
/// cannot be done the process ends, for its supervisor to start it.
fn start_anew(cause: &StorageError) -> ExitCode {
    tracing::warn!(%cause, "starting anew, to open the store that failed");
    let error = match std::env::current_exe() {
        Ok(program) => Command::new(program).args(std::env::args_os().skip(1)).exec(),
        Err(error) => error,
    };
    complain(&format!("{cause}; failed to start anew ({error}), start the node again"), 1)
}

fn configure(cli: &Cli) -> Result<Config, ConfigError> {
    let format = config::resolve_log_format(cli)?;
    let config = Config::resolve(cli, &|name| std::env::var(name).ok())?;
    logging::start(format)?;
    Ok(config)
}

fn run(config: Config) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("failed to start the async runtime")?;
    let result = runtime.block_on(async {
        let stop = CancellationToken::new();
        shutdown::listen(stop.clone()).context("failed to listen for signals")?;
        match config {
            Config::Primary(config) => role::primary::run(*config, stop).await,
            Config::Worker(config) => role::worker::run(*config, stop).await,
            Config::Replica(config) => role::replica::run(*config, stop).await,
        }
    });
    // A run that ignored its cancellation must not keep the process: its lease runs out by itself.
    runtime.shutdown_timeout(Duration::from_millis(limits::EXIT_GRACE_MS));
    result
}

fn complain(message: &str, code: u8) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "node: {message}");
    ExitCode::from(code)
}

/// What clap has to say, without its usage block, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let is_wanted = |line: &&str| !line.is_empty() && !line.starts_with("For more information");
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(is_wanted)
        .collect();
    let message = lines.join(" ");
    format!("{} (see node --help)", message.strip_prefix("error: ").unwrap_or(&message))
}
