//! Log lines on stderr: for people on a terminal, JSON otherwise.
//!
//! Owns the subscriber and the default filters; `RUST_LOG` replaces them. On a terminal single jobs are left out, so
//! that progress can be seen. stdout stays free for output.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat};

/// Sends the process's log lines to stderr from here on. A second call changes nothing.
///
/// # Errors
/// When `RUST_LOG` is no filter.
pub fn start(format: LogFormat) -> Result<(), ConfigError> {
    let is_terminal = stderr().is_terminal();
    let is_json = format == LogFormat::Json || (format == LogFormat::Auto && !is_terminal);
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text)
            .map_err(|error| ConfigError::wrong("RUST_LOG", &text, &format!("a log filter ({error})")))?,
        _ if is_json => EnvFilter::new("info"),
        _ => EnvFilter::new("info,outpost_worker=warn,outpost_node::intake=warn"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    // An error means that a subscriber is set already, which is as good.
    let _ = if is_json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(is_terminal).with_target(false).try_init()
    };
    Ok(())
}
