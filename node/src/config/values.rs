//! Values of options and variables, one parser each.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use outpost_model::Queue;
use url::Url;

use crate::admin_token::{AdminToken, TOKEN_CHARS_MIN};
use crate::http::server::Listen;

const DEFAULT_PORT: u16 = 8_000;
const WORKERS_MAX: usize = 256;

/// A wrong value, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// `option: 'value' is not expected`.
    pub(crate) fn wrong(option: &str, value: &str, expected: &str) -> Self {
        Self(format!("{option}: '{value}' is not {expected}"))
    }

    pub(super) fn sentence(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The environment, as a look-up. Empty variables count as absent.
pub(super) struct Environment<'a> {
    variables: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(variables: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { variables }
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.trim().is_empty())
    }

    /// The option when given, else the first of the variables.
    pub(super) fn secret(&self, option: Option<&str>, names: &[&str]) -> Option<String> {
        let option = option.filter(|value| !value.is_empty()).map(str::to_owned);
        option.or_else(|| names.iter().find_map(|name| self.text(name)))
    }

    pub(super) fn count<T: FromStr + Display>(&self, name: &str, default: T) -> Result<T, ConfigError> {
        match self.text(name) {
            None => Ok(default),
            // Python's int(), which reads these variables in dataset-viewer, takes `100_000`.
            Some(value) => {
                value.trim().replace('_', "").parse().map_err(|_| {
                    ConfigError::wrong(name, &value, &format!("a whole number, such as {default}"))
                })
            }
        }
    }

    /// A share in per cent; zero and less turn off what it guards.
    pub(super) fn percent(&self, name: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(default) };
        let percent: Option<f64> = value.trim().parse().ok();
        percent.filter(|percent| percent.is_finite()).ok_or_else(|| {
            ConfigError::wrong(name, &value, "a number of per cent, such as 80, or 0 for none")
        })
    }

    pub(super) fn seconds(&self, name: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.text(name) else { return Ok(default) };
        let seconds: Option<f64> = value.trim().parse().ok();
        seconds
            .filter(|seconds| (0.0..=3_600.0).contains(seconds))
            .ok_or_else(|| ConfigError::wrong(name, &value, "a number of seconds between 0 and 3600"))
    }
}

pub(super) fn parse_listen(text: Option<&str>) -> Result<Listen, ConfigError> {
    let Some(text) = text else { return Ok(Listen::Everywhere(DEFAULT_PORT)) };
    let address: Option<SocketAddr> = text.replacen("localhost:", "127.0.0.1:", 1).parse().ok();
    match address {
        Some(address) if address.ip() == IpAddr::from([0_u16; 8]) => Ok(Listen::Everywhere(address.port())),
        Some(address) => Ok(Listen::At(address)),
        None => Err(ConfigError::wrong("--listen", text, "an address and a port, such as 127.0.0.1:8000")),
    }
}

pub(super) fn parse_public_url(text: &str) -> Result<String, ConfigError> {
    let wrong = || {
        ConfigError::wrong("--public-url", text, "an http:// or https:// URL, such as https://viewer.example")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let is_usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && !text.contains(['"', '\\']);
    if is_usable { Ok(url.as_str().trim_end_matches('/').to_owned()) } else { Err(wrong()) }
}

pub(super) fn parse_workers(text: &str) -> Result<Vec<(Queue, usize)>, ConfigError> {
    let wrong = || {
        let expected = "`0` or a list such as datasets=1,splits=2, with at most 256 workers per queue";
        ConfigError::wrong("--workers", text, expected)
    };
    if text == "0" {
        return Ok(Vec::new());
    }
    let mut workers: Vec<(Queue, usize)> = Vec::new();
    for item in text.split(',') {
        let (name, count) = item.split_once('=').ok_or_else(wrong)?;
        let queue = Queue::ALL.into_iter().find(|queue| queue.as_str() == name.trim()).ok_or_else(wrong)?;
        let count: usize = count.trim().parse().map_err(|_| wrong())?;
        if count > WORKERS_MAX || workers.iter().any(|(other, _)| *other == queue) {
            return Err(wrong());
        }
        workers.push((queue, count));
    }
    workers.retain(|(_, count)| *count > 0);
    Ok(workers)
}

/// How many workers one process has.
pub(super) fn parse_worker_count(text: &str) -> Result<usize, ConfigError> {
    let count: Option<usize> = text.trim().parse().ok();
    count.filter(|count| (1..=WORKERS_MAX).contains(count)).ok_or_else(|| {
        ConfigError::wrong("--workers", text, "a number from 1 to 256, or a list such as datasets=1,splits=2")
    })
}

pub(super) fn parse_admin_token(text: Option<&str>) -> Result<Option<AdminToken>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    AdminToken::new(text).map(Some).ok_or_else(|| {
        ConfigError::sentence(format!(
            "--admin-token: a token has at least {TOKEN_CHARS_MIN} visible ASCII characters, for example the output              of `openssl rand -hex 32`"
        ))
    })
}

/// A number of bytes, at most `bytes_max`. `expected` says what would be right.
pub(super) fn parse_size(
    option: &str,
    text: &str,
    bytes_max: u64,
    expected: &str,
) -> Result<u64, ConfigError> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let unit_bytes: Option<u64> = match unit {
        "" if text == "0" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    let count: Option<u64> = count.parse().ok();
    let bytes = count.zip(unit_bytes).and_then(|(count, unit)| count.checked_mul(unit));
    bytes.filter(|bytes| *bytes <= bytes_max).ok_or_else(|| ConfigError::wrong(option, text, expected))
}

pub(super) fn parse_duration(option: &str, text: &str) -> Result<Duration, ConfigError> {
    let wrong = || ConfigError::wrong(option, text, "a duration, such as 500ms, 60s, 5m or 1h");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

pub(super) fn check_sync_listen(address: &str, token: Option<&str>) -> Result<(), ConfigError> {
    let parsed: SocketAddr = address.replacen("localhost:", "127.0.0.1:", 1).parse().map_err(|_| {
        ConfigError::wrong("--sync-listen", address, "an address and a port, such as 127.0.0.1:8001")
    })?;
    if !parsed.ip().is_loopback() && token.is_none_or(str::is_empty) {
        return Err(ConfigError::sentence(format!(
            "--sync-listen {address} can be reached from other machines: give a --sync-token, or listen on 127.0.0.1"
        )));
    }
    Ok(())
}
