//! Calls between nodes (PROTOCOL.md sections 2 and 4).
//!
//! Owns their names, the refusals in words, and the trait that a follower calls its upstream through. Whatever carries
//! the bytes, a call is one frame there and a stream of frames back.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use outpost_model::limits;
use tokio::time::Instant;

use crate::frame::{Decoder, FrameError};
use crate::wire::Message;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Where the node stands.
    Head,
    /// Which ranges differ.
    Compare,
    /// The content of ranges.
    Fill,
    /// Everything from a position on.
    Tail,
    /// One answer, for a reader.
    Lookup,
    /// A webhook.
    Webhook,
    /// A file.
    Asset,
}

impl Call {
    /// Every call.
    pub const ALL: [Self; 7] =
        [Self::Head, Self::Compare, Self::Fill, Self::Tail, Self::Lookup, Self::Webhook, Self::Asset];

    /// The last part of its path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Compare => "compare",
            Self::Fill => "fill",
            Self::Tail => "tail",
            Self::Lookup => "lookup",
            Self::Webhook => "webhook",
            Self::Asset => "asset",
        }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $status:literal),+ $(,)?) => {
        /// Why a call was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RefusalCode { $($(#[$doc])* $name),+ }

        impl RefusalCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As `X-Error-Code` says it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("Sync", stringify!($name))),+ }
            }

            /// The HTTP status.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }
        }
    };
}

refusals! {
    /// The token is missing or wrong.
    Unauthorized 401,
    /// No version in common.
    Version 400,
    /// The frame is not one, or breaks a limit.
    Malformed 400,
    /// The caller is on the way from the origin to the node called.
    Loop 409,
    /// The position is of another history.
    ForeignHistory 409,
    /// The log does not reach back to the position.
    Gap 409,
    /// The node has not reached the position.
    Ahead 409,
    /// Too many calls.
    Busy 503,
    /// The node was never filled.
    NotFilled 503,
    /// The node failed.
    Failed 500,
}

/// A call that was refused, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words} ({})", code.as_str())]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub words: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: RefusalCode, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

/// A call that brought no answer, or whose answer ended before it was whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The upstream said no.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Nothing came, or no more.
    #[error("the upstream cannot be reached: {0}")]
    Lost(String),
    /// What came is not what was asked for.
    #[error("the upstream sent what cannot be right: {0}")]
    Nonsense(String),
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Cut => Self::Lost(error.to_string()),
            other => Self::Nonsense(other.to_string()),
        }
    }
}

/// Bytes as they come from a node.
pub type ByteStream = BoxStream<'static, Result<Bytes, CallError>>;

/// A node that can be called.
#[async_trait]
pub trait Upstream: Send + Sync + 'static {
    /// Its address, for people.
    fn name(&self) -> &str;

    /// Makes a call. Returns when the answer begins.
    async fn call(&self, call: Call, request: Message) -> Result<ByteStream, CallError>;
}

/// The messages of an answer.
pub struct Answer {
    bytes: ByteStream,
    decoder: Decoder,
}

impl Answer {
    /// Reads an answer from its bytes.
    #[must_use]
    pub fn new(bytes: ByteStream) -> Self {
        Self { bytes, decoder: Decoder::default() }
    }

    /// Makes a call, waiting for the begin of the answer at most [`limits::SYNC_CALL_TIMEOUT_MS`].
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn of(upstream: &dyn Upstream, call: Call, request: Message) -> Result<Self, CallError> {
        let wait = Duration::from_millis(limits::SYNC_CALL_TIMEOUT_MS);
        match tokio::time::timeout(wait, upstream.call(call, request)).await {
            Ok(bytes) => Ok(Self::new(bytes?)),
            Err(_) => Err(CallError::Lost(format!("no answer to {} within {wait:?}", call.name()))),
        }
    }

    /// The next message; `None` at the end. Silence longer than [`limits::SYNC_SILENCE_MS_MAX`] is an end with an error.
    ///
    /// # Errors
    /// [`CallError`]; the answer is then of no use any more.
    pub async fn next(&mut self) -> Result<Option<Message>, CallError> {
        let wait = Duration::from_millis(limits::SYNC_SILENCE_MS_MAX);
        let give_up_at = Instant::now() + Duration::from_millis(limits::SYNC_MESSAGE_TIMEOUT_MS);
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Some(message));
            }
            if Instant::now() > give_up_at {
                return Err(CallError::Lost("a message did not arrive whole in time".to_owned()));
            }
            match tokio::time::timeout(wait, self.bytes.next()).await {
                Ok(Some(bytes)) => self.decoder.push(&bytes?),
                Ok(None) => return Ok(self.decoder.finish().map(|()| None)?),
                Err(_) => return Err(CallError::Lost(format!("silent for {wait:?}"))),
            }
        }
    }

    /// The next message, which must come.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn expect(&mut self) -> Result<Message, CallError> {
        self.next().await?.ok_or_else(|| CallError::Lost("the answer ended early".to_owned()))
    }
}

/// A message that does not belong where it came.
#[must_use]
pub fn unexpected(message: &Message) -> CallError {
    CallError::Nonsense(format!("{} at a place where it does not belong", message.name()))
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;
    use crate::frame;
    use crate::wire::Reached;

    fn answer(bytes: impl futures::Stream<Item = Bytes> + Send + 'static) -> Answer {
        Answer::new(bytes.map(Ok).boxed())
    }

    /// One byte a second of a message that never ends.
    fn drip() -> impl futures::Stream<Item = Bytes> + Send {
        let mut start = frame::encode(&Reached { seq: 1, set_hash: None }.into()).to_vec();
        start[8..16].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]);
        stream::iter(start.into_iter().chain(std::iter::repeat(0))).then(|byte| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Bytes::copy_from_slice(&[byte])
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_says_nothing_or_one_byte_a_second_is_given_up_on() {
        let started = Instant::now();
        let silent = answer(stream::pending()).next().await;
        assert!(matches!(silent, Err(CallError::Lost(_))), "{silent:?}");
        assert_eq!(started.elapsed(), Duration::from_millis(limits::SYNC_SILENCE_MS_MAX));
        let started = Instant::now();
        let slow = answer(drip()).next().await;
        assert!(matches!(slow, Err(CallError::Lost(_))), "{slow:?}");
        let bound = Duration::from_millis(limits::SYNC_MESSAGE_TIMEOUT_MS + limits::SYNC_SILENCE_MS_MAX);
        assert!(started.elapsed() <= bound, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn an_upstream_that_sends_garbage_or_lies_about_lengths_is_not_listened_to() {
        let good = frame::encode(&Reached { seq: 1, set_hash: None }.into());
        let mut longer = good.to_vec();
        longer[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut shorter = good.to_vec();
        shorter[8..12].copy_from_slice(&1_u32.to_be_bytes());
        for bytes in [b"HTTP/1.1 200 OK".to_vec(), longer, shorter] {
            let said = answer(stream::iter([Bytes::from(bytes)])).next().await;
            assert!(matches!(said, Err(CallError::Nonsense(_))), "{said:?}");
        }
        let cut = answer(stream::iter([good.slice(..good.len() - 1)])).next().await;
        assert!(matches!(cut, Err(CallError::Lost(_))), "{cut:?}");
    }
}
