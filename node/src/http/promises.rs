//! What a reader may demand of the state that it is answered from (PROTOCOL.md section 8).
//!
//! Owns the reading of `X-Sync-After` and of `max-age` in a request's `Cache-Control`, and the short wait until the
//! mirror is there. A demand is met or refused, never ignored: what is no position is an error.

use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName};
use outpost_model::limits;
use outpost_storage::Mirror;
pub use outpost_sync::promise::{Decision, Demand, Tried};
use tokio::time::Instant;

use super::error::ApiError;

/// The position that the reader has seen.
pub const X_SYNC_AFTER: HeaderName = HeaderName::from_static("x-sync-after");

/// What a node knows about the state of its mirror.
pub trait Vantage: Send + Sync + 'static {
    /// What to do with a request that demands something.
    fn decide(&self, demand: &Demand, tried: Tried) -> Decision;

    /// How old the mirror's state may be; `None` when nobody knows.
    fn age(&self) -> Option<Duration>;

    /// Whether it is a copy of another node's, so that each answer says how old it may be.
    fn is_copy(&self) -> bool;

    /// Whether what it holds may be answered from: what it says about who may read a dataset is still so.
    fn may_answer(&self) -> bool {
        true
    }

    /// Why the node is not ready for readers.
    fn unready(&self) -> Option<String> {
        None
    }
}

/// What the headers of a request demand.
///
/// # Errors
/// When `X-Sync-After` is there and is not one position.
pub fn demand_of(headers: &HeaderMap) -> Result<Demand, ApiError> {
    let mut after = headers.get_all(X_SYNC_AFTER).iter();
    let after = match (after.next(), after.next()) {
        (None, _) => None,
        (Some(value), None) => {
            let position = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            Some(position.ok_or_else(ApiError::invalid_position)?)
        }
        (Some(_), Some(_)) => return Err(ApiError::invalid_position()),
    };
    Ok(Demand { after, age_max: max_age(headers) })
}

/// Waits at most [`limits::READ_WAIT_MS`] for the state that is demanded; whether the mirror is in it.
pub async fn wait(demand: &Demand, vantage: &dyn Vantage, mirror: &dyn Mirror) -> bool {
    let ends = Instant::now() + Duration::from_millis(limits::READ_WAIT_MS);
    let mut news = None;
    loop {
        let tried = if Instant::now() < ends { Tried::Nothing } else { Tried::Waited };
        match vantage.decide(demand, tried) {
            Decision::Serve => return true,
            Decision::Wait => {}
            Decision::AskUpstream | Decision::Refuse => return false,
        }
        let news = news.get_or_insert_with(|| mirror.watch_visible());
        // An age falls without any news of the position.
        let look = Duration::from_millis(limits::READ_LOOK_MS);
        if let Ok(Err(_)) = tokio::time::timeout(look, news.changed()).await {
            return false;
        }
    }
}

/// `max-age` of the request, ; a directive that makes no sense is none (RFC 9111 section 5.2).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lists = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = lists.flat_map(|list| list.split(','));
    let seconds = directives.filter_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("max-age");
        value.trim().parse::<u64>().ok().filter(|_| is_it)
    });
    seconds.min().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use outpost_model::{Epoch, Position};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn demands_are_read_from_the_headers() {
        let position = Position { epoch: Epoch(7), seq: 9 };
        let text = position.to_string();
        let demand =
            demand_of(&headers(&[("x-sync-after", &text), ("cache-control", "no-cache, Max-Age=3")]));
        assert_eq!(demand, Ok(Demand { after: Some(position), age_max: Some(Duration::from_secs(3)) }));
        assert_eq!(demand_of(&HeaderMap::new()), Ok(Demand::default()));
        for ignored in ["max-age", "max-age=", "max-age=-1", "max-stale=3", "max-age=x"] {
            assert_eq!(
                demand_of(&headers(&[("cache-control", ignored)])),
                Ok(Demand::default()),
                "{ignored}"
            );
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let text = Position { epoch: Epoch(7), seq: 9 }.to_string();
        for wrong in ["", "1", "abc:1", "x", ":"] {
            assert!(demand_of(&headers(&[("x-sync-after", wrong)])).is_err(), "{wrong}");
        }
        assert!(demand_of(&headers(&[("x-sync-after", &text), ("x-sync-after", &text)])).is_err());
    }
}
