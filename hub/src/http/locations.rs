//! Where files were last found after a redirect to a file store.
//!
//! Owns a small, short-lived memory of signed addresses: a file read in blocks asks the Hub once and its store many
//! times, which halves the round trips and spares the Hub's rate limit. Refuses to keep an address longer than
//! [`HUB_LOCATION_AGE_MS_MAX`]; one that fails is forgotten and the Hub asked again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outpost_model::limits::{HUB_LOCATION_AGE_MS_MAX, HUB_LOCATIONS_MAX};
use url::Url;

/// The address at the Hub, which names dataset, revision and path.
type Key = String;

#[derive(Default)]
pub(super) struct Locations {
    known: Mutex<HashMap<Key, (Url, Instant)>>,
}

impl Locations {
    /// The store's address of what `url` names at the Hub.
    pub(super) fn get(&self, url: &Url) -> Option<Url> {
        let known = self.lock();
        let (location, since) = known.get(url.as_str())?;
        is_fresh(*since).then(|| location.clone())
    }

    pub(super) fn remember(&self, url: &Url, location: Url) {
        let mut known = self.lock();
        if known.len() >= HUB_LOCATIONS_MAX {
            known.retain(|_, (_, since)| is_fresh(*since));
        }
        if known.len() >= HUB_LOCATIONS_MAX {
            let oldest = known.iter().min_by_key(|(_, (_, since))| *since).map(|(key, _)| key.clone());
            oldest.and_then(|key| known.remove(&key));
        }
        known.insert(url.as_str().to_owned(), (location, Instant::now()));
    }

    pub(super) fn forget(&self, url: &Url) {
        self.lock().remove(url.as_str());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (Url, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_fresh(since: Instant) -> bool {
    since.elapsed() < Duration::from_millis(HUB_LOCATION_AGE_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(number: usize) -> Url {
        Url::parse(&format!("http://hub/{number}")).unwrap()
    }

    #[test]
    fn the_oldest_address_makes_room() {
        let locations = Locations::default();
        for number in 0..=HUB_LOCATIONS_MAX {
            locations.remember(&url(number), url(number));
        }
        assert_eq!(locations.get(&url(0)), None);
        assert_eq!(locations.get(&url(HUB_LOCATIONS_MAX)), Some(url(HUB_LOCATIONS_MAX)));
        locations.forget(&url(1));
        assert_eq!(locations.get(&url(1)), None);
    }
}
