//! The listener for other nodes: where it is, and what they show.
//!
//! Owns its defaults: loopback on a primary, the private network on fly.io, none on a replica, which serves the feed to
//! others only when told. Refuses an address that other machines can reach without a token.

use std::net::SocketAddr;

use super::fly::Fly;
use super::values::{self, ConfigError};
use crate::cli::Cli;
use crate::http::server::Listen;
use crate::sync_api::SyncToken;

/// Of a primary that was told nothing.
const PRIMARY_LISTEN: &str = "127.0.0.1:8001";

/// Instead of an address: none.
const OFF: &str = "off";

/// The listener for other nodes.
#[derive(Clone, PartialEq, Eq)]
pub struct SyncListener {
    /// Its address.
    pub listen: Listen,
    /// Whether somebody asked for it. One that nobody asked for must not keep a node from starting.
    pub is_given: bool,
    /// What callers show; there always is one where other machines can reach it.
    pub token: Option<SyncToken>,
}

impl std::fmt::Debug for SyncListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { listen, is_given, token } = self;
        f.debug_struct("SyncListener")
            .field("listen", listen)
            .field("is_given", is_given)
            .field("has_token", &token.is_some())
            .finish()
    }
}

impl SyncListener {
    /// Of a primary, which has one unless it is told `off`.
    ///
    /// # Errors
    /// When the address is none, or needs a token that is not given.
    pub(super) fn of_primary(cli: &Cli, fly: Option<&Fly>) -> Result<Option<Self>, ConfigError> {
        if cli.sync_listen.is_some() {
            return Self::given(cli);
        }
        let Some(_fly) = fly else { return Self::at(PRIMARY_LISTEN, cli, false).map(Some) };
        if token(cli)?.is_none() {
            return Err(ConfigError::sentence(
                "a primary on fly.io needs a --sync-token, which its replicas show: give one to all machines with \
                 fly secrets set OUTPOST_SYNC_TOKEN=$(openssl rand -hex 32)",
            ));
        }
        Self::at(&Fly::sync_listen(), cli, true).map(Some)
    }

    /// Of any node that was told to have one.
    ///
    /// # Errors
    /// As [`SyncListener::of_primary`].
    pub(super) fn given(cli: &Cli) -> Result<Option<Self>, ConfigError> {
        let given = cli.sync_listen.as_deref().filter(|address| *address != OFF);
        given.map(|address| Self::at(address, cli, true)).transpose()
    }

    fn at(address: &str, cli: &Cli, is_given: bool) -> Result<Self, ConfigError> {
        values::check_sync_listen(address, cli.sync_token.as_deref())?;
        Ok(Self { listen: parse(address)?, is_given, token: token(cli)? })
    }
}

/// What this node shows to others and expects of them.
pub(super) fn token(cli: &Cli) -> Result<Option<SyncToken>, ConfigError> {
    let Some(text) = cli.sync_token.as_deref().filter(|token| !token.is_empty()) else { return Ok(None) };
    SyncToken::new(text).map(Some).ok_or_else(|| {
        ConfigError::sentence(
            "--sync-token: a token is visible ASCII without spaces, for example the output of `openssl rand -hex 32`",
        )
    })
}

fn parse(address: &str) -> Result<Listen, ConfigError> {
    let parsed: Option<SocketAddr> = address.replacen("localhost:", "127.0.0.1:", 1).parse().ok();
    match parsed {
        // All of IPv6 means IPv4 as well, where there is no IPv6 only that.
        Some(address) if address.ip().is_unspecified() && address.is_ipv6() => {
            Ok(Listen::Everywhere(address.port()))
        }
        Some(address) => Ok(Listen::At(address)),
        None => {
            Err(ConfigError::wrong("--sync-listen", address, "an address and a port, such as 127.0.0.1:8001"))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::values::Environment;
    use super::*;

    fn cli(arguments: &[&str]) -> Cli {
        Cli::try_parse_from([&["node"], arguments].concat()).unwrap()
    }

    fn fly() -> Fly {
        let find = |name: &str| (name == "FLY_APP_NAME").then(|| "viewer".to_owned());
        Fly::detect(&Environment::new(&find)).unwrap()
    }

    #[test]
    fn a_primary_listens_on_loopback_unless_told() {
        let listener = SyncListener::of_primary(&cli(&[]), None).unwrap().unwrap();
        assert_eq!(listener.listen, Listen::At("127.0.0.1:8001".parse().unwrap()));
        assert!(!listener.is_given && listener.token.is_none());
        let given = ["--sync-listen", "10.0.0.1:9", "--sync-token", "t"];
        let listener = SyncListener::of_primary(&cli(&given), None).unwrap().unwrap();
        assert_eq!(listener.listen, Listen::At("10.0.0.1:9".parse().unwrap()));
        assert!(listener.is_given && listener.token == SyncToken::new("t"));
        assert!(!format!("{listener:?}").contains("\"t\""));
    }

    #[test]
    fn a_primary_on_fly_listens_on_the_private_network_and_needs_a_token() {
        let message = SyncListener::of_primary(&cli(&[]), Some(&fly())).unwrap_err().to_string();
        assert!(message.contains("fly secrets set OUTPOST_SYNC_TOKEN="), "{message}");
        let listener = SyncListener::of_primary(&cli(&["--sync-token", "t"]), Some(&fly())).unwrap().unwrap();
        assert_eq!((listener.listen, listener.is_given), (Listen::Everywhere(8_001), true));
        // An operator may close the door for a while.
        let closed = SyncListener::of_primary(&cli(&["--sync-listen", "127.0.0.1:8001"]), Some(&fly()));
        assert_eq!(closed.unwrap().unwrap().listen, Listen::At("127.0.0.1:8001".parse().unwrap()));
    }

    #[test]
    fn a_replica_serves_the_feed_only_when_told() {
        assert_eq!(SyncListener::given(&cli(&["--sync-token", "t"])), Ok(None));
        assert!(SyncListener::given(&cli(&["--sync-listen", "127.0.0.1:0"])).unwrap().is_some());
    }

    #[test]
    fn the_listener_can_be_turned_off() {
        assert_eq!(SyncListener::of_primary(&cli(&["--sync-listen", "off"]), None), Ok(None));
        assert_eq!(SyncListener::given(&cli(&["--sync-listen", "off"])), Ok(None));
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        for address in ["0.0.0.0:8001", "[::]:8001", "10.0.0.1:8001"] {
            let message = SyncListener::given(&cli(&["--sync-listen", address])).unwrap_err().to_string();
            assert!(message.contains("--sync-token"), "{message}");
        }
        assert!(SyncListener::given(&cli(&["--sync-listen", "here"])).is_err());
    }
}
