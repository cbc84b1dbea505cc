//! A short bounded memory: what was found a moment ago.
//!
//! Owns both bounds, in age and in number. When full, the oldest finding is forgotten first.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Values by key, each for a while.
#[derive(Debug)]
pub struct Recent<K, V> {
    age_max: Duration,
    len_max: usize,
    found: HashMap<K, (V, Instant)>,
    /// Keys of `found` in the order of their first finding.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// An empty memory of at most `len_max` values.
    #[must_use]
    pub fn new(age_max: Duration, len_max: usize) -> Self {
        Self { age_max, len_max, found: HashMap::new(), order: VecDeque::new() }
    }

    /// What was found for `key`, unless that is too long ago.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let (value, since) = self.found.get(key)?;
        (since.elapsed() < self.age_max).then_some(value)
    }

    /// Remembers `value` from now on.
    pub fn remember(&mut self, key: K, value: V) {
        if self.found.insert(key.clone(), (value, Instant::now())).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > self.len_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.found.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let mut recent = Recent::new(Duration::from_secs(60), 2);
        for (key, value) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            recent.remember(key, value);
        }
        assert_eq!((recent.get(&"a"), recent.get(&"b"), recent.get(&"c")), (None, Some(&2), Some(&4)));
    }

    #[test]
    fn what_is_too_old_is_not_remembered() {
        let mut recent = Recent::new(Duration::ZERO, 2);
        recent.remember("a", 1);
        assert_eq!(recent.get(&"a"), None);
    }
}
