//! An upstream whose calls and bytes are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use outpost_sync::call::ByteStream;
use outpost_sync::wire::Message;
use outpost_sync::{Call, CallError, Upstream, frame};

/// What went over the wire, headers of HTTP not counted.
#[derive(Default)]
pub struct Counts {
    pub calls: AtomicU64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

impl Counts {
    pub fn read(&self) -> (u64, u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (of(&self.calls), of(&self.sent), of(&self.received))
    }
}

/// See the module.
pub struct Counting {
    pub upstream: Arc<dyn Upstream>,
    pub counts: Arc<Counts>,
}

#[async_trait]
impl Upstream for Counting {
    fn name(&self) -> &str {
        self.upstream.name()
    }

    async fn call(&self, call: Call, request: Message) -> Result<ByteStream, CallError> {
        // What the age is known from goes on beside and is no part of following.
        if call == Call::Head {
            return self.upstream.call(call, request).await;
        }
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        self.counts.sent.fetch_add(frame::encode(&request).len() as u64, Ordering::SeqCst);
        let counts = Arc::clone(&self.counts);
        let bytes = self.upstream.call(call, request).await?;
        let counted = bytes.inspect(move |bytes| {
            let length = bytes.as_ref().map_or(0, bytes::Bytes::len);
            counts.received.fetch_add(length as u64, Ordering::SeqCst);
        });
        Ok(counted.boxed())
    }
}
