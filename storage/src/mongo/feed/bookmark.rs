//! Where the feed goes on after a restart.
//!
//! Owns the stored form of the stream's token and of how far a scan came. It is written in the same batch as what it
//! stands for. One that cannot be read means a scan from the start.

use bincode::{Decode, Encode};
use mongodb::bson::{Document, RawDocumentBuf};
use outpost_model::Epoch;

use crate::record::{self, Record};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Bookmark {
    /// The history that it belongs to.
    pub(super) epoch: u128,
    /// The stream's token, as BSON.
    token: Vec<u8>,
    /// Everything up to here was applied, apart from what a scan has still to find.
    pub(super) reached: u64,
    /// The scan under way.
    pub(super) scan: Option<Scan>,
}

impl Record for Bookmark {
    const TAG: u8 = b'B';
    const VERSION: u8 = 1;
}

/// How far a scan came.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Scan {
    /// Records of datasets up to this name were compared.
    Datasets(Option<String>),
    /// So were all of these, and responses up to this `_id`.
    Responses(Option<[u8; 12]>),
}

impl Bookmark {
    pub(super) fn new(epoch: Epoch, token: &Document, reached: u64, scan: Option<Scan>) -> Self {
        let token = RawDocumentBuf::try_from(token).map(RawDocumentBuf::into_bytes).unwrap_or_default();
        Self { epoch: epoch.0, token, reached, scan }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        record::encode(self)
    }

    /// Reads what [`Bookmark::encode`] wrote: the bookmark and its token.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, Document)> {
        let bookmark: Self = record::decode(bytes).ok()?;
        let token = RawDocumentBuf::from_bytes(bookmark.token.clone()).ok()?;
        let token = Document::try_from(token).ok().filter(|token| !token.is_empty())?;
        Some((bookmark, token))
    }
}

/// The cluster time inside a token: a token is a sortable text that begins with the type of a time, in hexadecimal,
/// and the time.
pub(super) fn token_time(token: &Document) -> Option<u64> {
    let digits = token.get_str("_data").ok()?.strip_prefix("82")?.get(..16)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn a_bookmark_round_trips_and_garbage_is_none() {
        let token = doc! {"_data": "826553F1A9000000022B0429296E1404"};
        for scan in [None, Some(Scan::Datasets(Some("u/d".to_owned()))), Some(Scan::Responses(Some([7; 12])))]
        {
            let bookmark = Bookmark::new(Epoch(3), &token, 9, scan);
            assert_eq!(Bookmark::decode(&bookmark.encode()), Some((bookmark, token.clone())));
        }
        assert_eq!(Bookmark::decode(b"garbage"), None);
        assert_eq!(Bookmark::decode(&Bookmark::new(Epoch(3), &doc! {}, 9, None).encode()), None);
    }

    #[test]
    fn a_token_tells_its_time() {
        let token = doc! {"_data": "826553F1A9000000022B0429296E1404"};
        assert_eq!(token_time(&token), Some(0x6553_F1A9_0000_0002));
        for other in
            [doc! {}, doc! {"_data": 5}, doc! {"_data": "82ff"}, doc! {"_data": "996553F1A900000002"}]
        {
            assert_eq!(token_time(&other), None);
        }
    }
}
