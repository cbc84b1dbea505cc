//! What a reader may demand of the state that it is answered from (PROTOCOL.md section 8).
//!
//! Owns the reading of `X-Sync-After` and of `max-age` in a request's `Cache-Control`, and the short wait until the
//! mirror is there. A demand is met or refused, never ignored: what is no position is an error.

use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName};
use outpost_model::{Position, limits};
use outpost_storage::Mirror;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::ApiError;

/// The position that the reader has seen.
pub const X_SYNC_AFTER: HeaderName = HeaderName::from_static("x-sync-after");

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// The state must be at or after this.
    pub after: Option<Position>,
    /// The state must be of at most this age.
    pub age_ms_max: Option<u64>,
}

/// What a node knows about the state of its mirror.
pub trait Vantage: Send + Sync + 'static {
    /// Whether the mirror is at or after a position, of whatever history.
    fn covers(&self, after: &Position) -> bool;

    /// How old its state may be; `None` when nobody knows.
    fn age_ms(&self) -> Option<u64>;

    /// Whether it is a copy of another node's, so that each answer says how old it may be.
    fn is_copy(&self) -> bool;

    /// Whether what it says about who may read a dataset still holds.
    fn knows_who_may_read(&self) -> bool {
        true
    }

    /// Why the node is not ready for readers.
    fn unready(&self) -> Option<String> {
        None
    }
}

impl Demand {
    /// What the headers of a request demand.
    ///
    /// # Errors
    /// When `X-Sync-After` is there and is not one position.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut after = headers.get_all(X_SYNC_AFTER).iter();
        let after = match (after.next(), after.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let position = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                Some(position.ok_or_else(ApiError::invalid_position)?)
            }
            (Some(_), Some(_)) => return Err(ApiError::invalid_position()),
        };
        Ok(Self { after, age_ms_max: max_age_ms(headers) })
    }

    fn is_met(&self, vantage: &dyn Vantage) -> bool {
        self.after.is_none_or(|after| vantage.covers(&after))
            && self.age_ms_max.is_none_or(|max| vantage.age_ms().is_some_and(|age| age <= max))
    }

    /// Waits at most [`limits::READ_WAIT_MS`] until the demand is met; whether it is.
    pub async fn wait(&self, vantage: &dyn Vantage, mirror: &dyn Mirror) -> bool {
        if *self == Self::default() || self.is_met(vantage) {
            return true;
        }
        // A copy is never of this very moment.
        if self.age_ms_max == Some(0) {
            return false;
        }
        let ends = Instant::now() + Duration::from_millis(limits::READ_WAIT_MS);
        let mut news = mirror.watch();
        while Instant::now() < ends {
            let look = sleep(Duration::from_millis(limits::READ_LOOK_MS));
            let _ = timeout_at(ends, async {
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { std::future::pending::<()>().await },
                    () = look => {}
                }
            })
            .await;
            if self.is_met(vantage) {
                return true;
            }
        }
        false
    }
}

/// `max-age` of the request, in milliseconds; a directive that makes no sense is none (RFC 9111 section 5.2).
fn max_age_ms(headers: &HeaderMap) -> Option<u64> {
    let lists = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = lists.flat_map(|list| list.split(','));
    let seconds = directives.filter_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("max-age");
        value.trim().parse::<u64>().ok().filter(|_| is_it)
    });
    seconds.min().map(|seconds| seconds.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use outpost_model::Epoch;

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
        let demand = Demand::of(&headers(&[("x-sync-after", &text), ("cache-control", "no-cache, Max-Age=3")]));
        assert_eq!(demand, Ok(Demand { after: Some(position), age_ms_max: Some(3_000) }));
        assert_eq!(Demand::of(&HeaderMap::new()), Ok(Demand::default()));
        for ignored in ["max-age", "max-age=", "max-age=-1", "max-stale=3", "max-age=x"] {
            assert_eq!(Demand::of(&headers(&[("cache-control", ignored)])), Ok(Demand::default()), "{ignored}");
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let text = Position { epoch: Epoch(7), seq: 9 }.to_string();
        for wrong in ["", "1", "abc:1", "x", ":"] {
            assert!(Demand::of(&headers(&[("x-sync-after", wrong)])).is_err(), "{wrong}");
        }
        assert!(Demand::of(&headers(&[("x-sync-after", &text), ("x-sync-after", &text)])).is_err());
    }
}
