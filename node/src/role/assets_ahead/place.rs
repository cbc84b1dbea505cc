//! How far the mirror has been gone over for assets, in this run and the runs before.
//!
//! Owns the form of the bookmark. One of another form, of other bounds, or of a place that the mirror has not reached
//! or left for another history counts as none: then everything is gone over again.

use outpost_model::items::{ITEM_BYTES, Item};
use outpost_model::{Epoch, Position};

use crate::upstream::AssetBounds;

/// Of the bookmark; a change of its form changes it.
const FORMAT: u8 = 1;

/// How far the mirror has been gone over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Start,
    /// Over all entries up to one; what changes meanwhile is behind the position.
    Among { began: Position, after: Option<Item> },
    /// Over all changes up to a position.
    Behind(Position),
}

impl Place {
    /// The position whose changes come next, `None` when all entries do.
    fn position(self) -> Option<Position> {
        match self {
            Self::Start => None,
            Self::Among { began: at, .. } | Self::Behind(at) => Some(at),
        }
    }

    /// Whether a mirror that stands at `reached` has everything that was gone over.
    pub(super) fn is_within(self, reached: Position) -> bool {
        self.position().is_none_or(|at| reached.covers(&at) == Some(true))
    }

    /// Form, bounds, position, and the item of a place among all entries.
    pub(super) fn to_bookmark(self, bounds: AssetBounds) -> Option<Vec<u8>> {
        let position = self.position()?;
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&bounds.asset_bytes_max.to_be_bytes());
        bytes.extend_from_slice(&bounds.budget_bytes.to_be_bytes());
        bytes.extend_from_slice(&position.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&position.seq.to_be_bytes());
        if let Self::Among { after, .. } = self {
            bytes.extend_from_slice(&after.unwrap_or(Item::MIN).to_bytes());
        }
        Some(bytes)
    }

    /// Other bounds may keep what was left out.
    pub(super) fn of_bookmark(bytes: &[u8], bounds: AssetBounds) -> Option<Self> {
        let (format, rest) = bytes.split_first()?;
        let (asset_bytes_max, rest) = rest.split_first_chunk()?;
        let (budget_bytes, rest) = rest.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (seq, item) = rest.split_first_chunk()?;
        let noted = AssetBounds {
            asset_bytes_max: u64::from_be_bytes(*asset_bytes_max),
            budget_bytes: u64::from_be_bytes(*budget_bytes),
        };
        if *format != FORMAT || noted != bounds {
            return None;
        }
        let position = Position { epoch: Epoch(u128::from_be_bytes(*epoch)), seq: u64::from_be_bytes(*seq) };
        if item.is_empty() {
            return Some(Self::Behind(position));
        }
        let item = Item::from_bytes(<&[u8; ITEM_BYTES]>::try_from(item).ok()?);
        Some(Self::Among { began: position, after: Some(item) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { epoch: Epoch(7), seq: 300 };

    #[test]
    fn a_bookmark_is_the_place_again_under_the_same_bounds_only() {
        let bounds = AssetBounds::default();
        let among = Place::Among { began: AT, after: Some(Item::from_bytes(&[3; ITEM_BYTES])) };
        for place in [Place::Behind(AT), among] {
            let mut bookmark = place.to_bookmark(bounds).unwrap();
            assert_eq!(Place::of_bookmark(&bookmark, bounds), Some(place));
            let other = AssetBounds { budget_bytes: 1, ..bounds };
            assert_eq!(Place::of_bookmark(&bookmark, other), None);
            assert_eq!(Place::of_bookmark(&bookmark[..bookmark.len() - 1], bounds), None);
            bookmark[0] ^= 1;
            assert_eq!(Place::of_bookmark(&bookmark, bounds), None);
        }
        assert_eq!((Place::of_bookmark(b"", bounds), Place::Start.to_bookmark(bounds)), (None, None));
    }

    #[test]
    fn a_place_that_the_mirror_has_not_reached_or_of_another_history_is_not_within_it() {
        let place = Place::Behind(AT);
        assert!(place.is_within(AT) && place.is_within(Position { seq: 301, ..AT }));
        assert!(!place.is_within(Position { seq: 299, ..AT }));
        assert!(!place.is_within(Position { epoch: Epoch(8), ..AT }));
    }
}
