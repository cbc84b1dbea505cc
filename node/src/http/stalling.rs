//! A connection that gives up on a client that does not read, and on one that sends no request.
//!
//! Owns two rules. A write that makes no progress for [`limits::RESPONSE_STALL_TIMEOUT_MS`] fails. So does waiting for
//! more of a request when none was complete for [`limits::REQUEST_HEAD_TIMEOUT_MS`], however slowly its bytes drip in.
//! Failing closes the connection and frees what it holds. One timer per connection is set and then left alone: a timer
//! per request costs a tenth of a small answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use outpost_model::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

const HEAD_TIME: Duration = Duration::from_millis(limits::REQUEST_HEAD_TIMEOUT_MS);
const STALL_TIME: Duration = Duration::from_millis(limits::RESPONSE_STALL_TIMEOUT_MS);

/// How long a connection waits for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a complete head of a request.
    pub head: Duration,
    /// For a part of an answer to be read.
    pub unread: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: HEAD_TIME, unread: STALL_TIME }
    }
}

/// What goes on at a connection, told by its service.
#[derive(Debug)]
pub struct Activity {
    patience: Patience,
    opened: Instant,
    /// Requests being answered.
    answering: AtomicU32,
    /// When the last one was answered, in milliseconds from `opened`.
    answered_ms: AtomicU64,
}

/// A request being answered, until dropped.
pub struct Answering(Arc<Activity>);

impl Activity {
    /// A connection just opened.
    #[must_use]
    pub fn start(patience: Patience) -> Arc<Self> {
        Arc::new(Self {
            patience,
            opened: Instant::now(),
            answering: AtomicU32::new(0),
            answered_ms: AtomicU64::new(0),
        })
    }

    /// A complete request arrived.
    #[must_use]
    pub fn answering(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// When waiting for a request has taken too long.
    fn patience_ends(&self) -> Instant {
        let since = match self.answering.load(Ordering::Relaxed) {
            0 => self.opened + Duration::from_millis(self.answered_ms.load(Ordering::Relaxed)),
            _ => Instant::now(),
        };
        since + self.patience.head
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let elapsed = u64::try_from(self.0.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.answered_ms.store(elapsed, Ordering::Relaxed);
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Wraps a connection.
pub struct StallGuard<T> {
    inner: T,
    activity: Arc<Activity>,
    patience: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> StallGuard<T> {
    /// Guards `inner`, whose service tells `activity`.
    pub fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self { inner, activity, patience: None, stalled: None }
    }

    /// Fails once nothing was written for too long.
    fn watch_write<R>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let unread = self.activity.patience.unread;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(unread)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Fails once no request was complete for too long.
    fn watch_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = &self.activity;
        let patience =
            self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(activity.patience_ends())));
        loop {
            ready!(patience.as_mut().poll(context));
            let ends = activity.patience_ends();
            if ends <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            patience.as_mut().reset(ends);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StallGuard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.watch_read(context),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for StallGuard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch_write(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.watch_write(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_flush(context);
        self.watch_write(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch_write(context, progress)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up_on() {
        let (_client, server) = tokio::io::duplex(16);
        let written = StallGuard::new(server, Activity::start(Patience::default())).write_all(&[0; 64]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_bytes_do_not_keep_a_connection_open() {
        let (mut client, server) = tokio::io::duplex(16);
        let drip = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(HEAD_TIME / 4).await;
            }
        });
        let started = Instant::now();
        let mut server = StallGuard::new(server, Activity::start(Patience::default()));
        let error = loop {
            if let Err(error) = server.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= HEAD_TIME && started.elapsed() < 2 * HEAD_TIME);
        drop(server);
        drip.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_answer_is_not_the_clients() {
        let (_client, server) = tokio::io::duplex(16);
        let activity = Activity::start(Patience::default());
        let mut server = StallGuard::new(server, Arc::clone(&activity));
        let started = Instant::now();
        let reading = tokio::spawn(async move { server.read_u8().await });
        let answering = activity.answering();
        tokio::time::sleep(3 * HEAD_TIME).await;
        drop(answering);
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= 4 * HEAD_TIME && started.elapsed() < 5 * HEAD_TIME);
    }
}
