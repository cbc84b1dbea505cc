//! Messages as they lie in frames (PROTOCOL.md section 3).
//!
//! Owns the shapes on the wire, and nothing else: names, keys and codes are plain text and bytes here and are checked
//! where they become values of the model ([`crate::record`]). No type is recursive, so a payload within its limit
//! cannot exhaust the stack.

use bincode::config::Config;
use bincode::{Decode, Encode};

use crate::frame::FrameError;

/// An item, big-endian as it sorts.
pub type ItemBytes = [u8; outpost_model::items::ITEM_BYTES];

macro_rules! messages {
    ($($(#[$doc:meta])* $kind:literal $name:ident),+ $(,)?) => {
        /// Every message.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Message { $($(#[$doc])* $name($name)),+ }

        impl Message {
            /// Its number on the wire.
            #[must_use]
            pub fn kind(&self) -> u8 {
                match self { $(Self::$name(_) => $kind),+ }
            }

            /// Its name, for messages to people.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name)),+ }
            }

            pub(crate) fn to_payload<C: Config>(&self, config: C) -> Vec<u8> {
                let encoded = match self {
                    $(Self::$name(content) => bincode::encode_to_vec(content, config)),+
                };
                encoded.expect("writing to memory cannot fail")
            }

            pub(crate) fn from_payload<C: Config>(kind: u8, payload: &[u8], config: C) -> Result<Self, FrameError> {
                match kind {
                    $($kind => whole(bincode::decode_from_slice(payload, config), payload).map(Self::$name),)+
                    other => Err(FrameError::Content(format!("there is no message {other}"))),
                }
            }
        }

        $(impl From<$name> for Message {
            fn from(content: $name) -> Self {
                Self::$name(content)
            }
        })+
    };
}

messages! {
    /// Where a node stands.
    1 Head,
    /// Ranges to compare.
    2 Compare,
    /// Ranges that differ, in parts.
    3 Ranges,
    /// Ranges to fill.
    4 Fill,
    /// Records.
    5 Records,
    /// Items that are no more.
    6 Gone,
    /// The end of what belongs together.
    7 Reached,
    /// Where to go on from.
    8 Tail,
    /// What a reader asked a replica for.
    9 Lookup,
    /// What was found.
    10 Found,
    /// A webhook on its way to the primary.
    11 Relay,
    /// What became of it.
    12 Taken,
    /// A file that is wanted.
    13 Asset,
    /// What is known of it.
    14 AssetHead,
    /// A part of it.
    15 Part,
}

fn whole<T>(
    decoded: Result<(T, usize), bincode::error::DecodeError>,
    payload: &[u8],
) -> Result<T, FrameError> {
    match decoded {
        Ok((content, consumed)) if consumed == payload.len() => Ok(content),
        Ok(_) => Err(FrameError::Content("bytes left over".to_owned())),
        Err(error) => Err(FrameError::Content(error.to_string())),
    }
}

/// See [`Message::Head`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// The node.
    pub node: u128,
    /// The nodes from the origin to this one, which is the last.
    pub path: Vec<u128>,
    /// The position's history.
    pub epoch: u128,
    /// How far in it.
    pub seq: u64,
    /// The set hash of the state at this position; `None` amid a change of many parts.
    pub set_hash: Option<[u8; 32]>,
    /// Records at this position.
    pub records: u64,
    /// Histories that the node has left, newest last.
    pub left: Vec<u128>,
    /// How old the state may be; `None` when the node cannot know.
    pub age_ms: Option<u64>,
    /// Whether the node was ever filled.
    pub is_filled: bool,
}

/// A range of items and what a node sees in it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Range {
    /// First item that may be in it.
    pub from: ItemBytes,
    /// First item behind it; `None` for no end.
    pub to: Option<ItemBytes>,
    /// Items in it.
    pub count: u64,
    /// Of the items in it.
    pub fingerprint: [u8; 16],
}

/// See [`Message::Compare`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Compare {
    /// Who asks.
    pub node: u128,
    /// What the caller has.
    pub ranges: Vec<Range>,
}

/// See [`Message::Ranges`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ranges {
    /// What the upstream has.
    pub ranges: Vec<Range>,
}

/// A range with everything that the caller has there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FillRange {
    /// First item that may be in it.
    pub from: ItemBytes,
    /// First item behind it; `None` for no end.
    pub to: Option<ItemBytes>,
    /// The caller's items, in order.
    pub items: Vec<ItemBytes>,
}

/// See [`Message::Fill`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Fill {
    /// Who asks.
    pub node: u128,
    /// What differs.
    pub ranges: Vec<FillRange>,
    /// What to send besides.
    pub subjects: Vec<Subject>,
}

/// The address of a record.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Subject {
    /// An entry, by its key's bytes.
    Entry(Vec<u8>),
    /// A dataset, by name.
    Dataset(String),
}

/// An entry as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// Its key's bytes.
    pub key: Vec<u8>,
    /// HTTP status.
    pub http_status: u16,
    /// The error's name.
    pub error_code: Option<String>,
    /// The revision that it was computed for.
    pub revision: String,
    /// When it was stored in the authority, ms since 1970.
    pub updated_at_ms: u64,
    /// What the answer is equal by.
    pub version: [u8; 32],
    /// Length of the body.
    pub raw_bytes: u32,
    /// Whether `stored` is a zstd frame.
    pub is_compressed: bool,
    /// The body as stored.
    pub stored: Vec<u8>,
}

/// What is known of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// 0 public, 1 gated, 2 private.
    pub visibility: u8,
    /// When the Hub was last asked, ms since 1970.
    pub checked_at_ms: u64,
}

/// A record on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Put {
    /// An entry.
    Entry(Entry),
    /// A dataset's record.
    Dataset(Dataset),
}

/// See [`Message::Records`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Records {
    /// Records and when they changed.
    pub puts: Vec<(u64, Put)>,
    /// What is no more, and since when.
    pub deleted: Vec<(u64, Subject)>,
}

/// See [`Message::Gone`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Gone {
    /// Items that the caller named.
    pub items: Vec<ItemBytes>,
}

/// See [`Message::Reached`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reached {
    /// Everything up to here was told.
    pub seq: u64,
    /// The set hash at exactly this seq, when it is known.
    pub set_hash: Option<[u8; 32]>,
}

/// See [`Message::Tail`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Tail {
    /// Who asks.
    pub node: u128,
    /// The history.
    pub epoch: u128,
    /// Everything up to here is known.
    pub seq: u64,
}

/// See [`Message::Lookup`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lookup {
    /// The step's name.
    pub kind: String,
    /// The dataset's name.
    pub dataset: String,
    /// The key's bytes; `None` when the names asked for cannot be those of an artifact.
    pub key: Option<Vec<u8>>,
    /// The answer must be of a state at or after this.
    pub after: Option<(u128, u64)>,
    /// The answer must be of a state of at most this age.
    pub age_ms_max: Option<u64>,
    /// Whether the reader showed credentials; which ones stays with the replica.
    pub has_credentials: bool,
    /// Nodes that passed it on.
    pub hops: u8,
}

/// See [`Message::Found`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Found {
    /// The position that the answer is of.
    pub position: (u128, u64),
    /// How old that state may be.
    pub age_ms: Option<u64>,
    /// The answer.
    pub answer: Answer,
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// An entry of a public dataset.
    Entry(Entry),
    /// Anything else, as the API says it.
    Error {
        /// HTTP status.
        http_status: u16,
        /// The error's name.
        error_code: Option<String>,
        /// The sentence.
        message: String,
        /// When to ask again.
        retry_after_s: Option<u32>,
    },
}

/// See [`Message::Relay`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Relay {
    /// Stays the same however often it is sent.
    pub id: u128,
    /// The webhook as the Hub sent it.
    pub body: Vec<u8>,
    /// Nodes that passed it on.
    pub hops: u8,
}

/// See [`Message::Taken`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Taken {
    /// It was no news, or was taken before.
    Ignored,
    /// It was applied; the position that contains it.
    Applied(u128, u64),
    /// It will never be applied, and why.
    Refused(String),
    /// It could not be applied now, and why.
    Later(String),
}

/// See [`Message::Asset`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Asset {
    /// Its path, as in its URL.
    pub path: String,
    /// First byte wanted.
    pub from: u64,
    /// Bytes wanted; `None` for all that follow.
    pub bytes: Option<u64>,
    /// Nodes that passed it on.
    pub hops: u8,
}

/// See [`Message::AssetHead`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AssetHead {
    /// Media type.
    pub content_type: String,
    /// Length of the file.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub hash: [u8; 32],
    /// Whether there is such a file; without it no bytes follow.
    pub is_found: bool,
}

/// See [`Message::Part`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The next bytes.
    pub bytes: Vec<u8>,
}
