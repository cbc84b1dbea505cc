//! The accept loop: connections in, bounded in number and in patience, drained on shutdown.
//!
//! Owns the limits of a connection: how many there are, how long a request's head may take, how large it may be, how
//! long a response may stay unread. Refuses to know what is served. An accept that fails is retried after a pause.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, Version};
use futures::StreamExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use outpost_model::limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::frame::Frame;
use super::paced::paced;
use super::stalling::{Activity, Answering, StallGuard};

pub use super::stalling::Patience;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// This address.
    At(SocketAddr),
    /// All addresses of both families at this port, or those of IPv4 where there is no IPv6.
    Everywhere(u16),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(address) => write!(f, "{address}"),
            Self::Everywhere(port) => write!(f, "[::]:{port}"),
        }
    }
}

/// Opens the listening socket.
///
/// # Errors
/// When the address cannot be bound.
pub async fn bind(listen: Listen) -> io::Result<TcpListener> {
    match listen {
        Listen::At(address) => TcpListener::bind(address).await,
        Listen::Everywhere(port) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                tracing::info!(%error, "IPv6 is not available, listening on IPv4 only");
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            bound => bound,
        },
    }
}

/// What answers requests.
pub trait Handle: Send + Sync + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

impl Handle for Frame {
    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send {
        Self::handle(self, request)
    }
}

/// Serves until `stop`, then lets open requests end for at most [`limits::SHUTDOWN_GRACE_MS`].
pub async fn serve(listener: TcpListener, frame: Arc<impl Handle>, stop: CancellationToken) {
    serve_with(listener, frame, stop, Patience::default()).await;
}

/// As [`serve`], with another patience.
pub async fn serve_with(
    listener: TcpListener,
    frame: Arc<impl Handle>,
    stop: CancellationToken,
    patience: Patience,
) {
    let connections = Arc::new(Semaphore::new(limits::REQUESTS_IN_FLIGHT_MAX));
    let draining = GracefulShutdown::new();
    let builder = builder();
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = Arc::clone(&connections).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = draining.watch(connection(&builder, stream, Arc::clone(&frame), patience));
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let grace = Duration::from_millis(limits::SHUTDOWN_GRACE_MS);
    if tokio::time::timeout(grace, draining.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(limits::REQUEST_HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(u32::try_from(limits::REQUEST_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_millis(limits::REQUEST_HEAD_TIMEOUT_MS));
    builder
}

fn connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    frame: Arc<impl Handle>,
    patience: Patience,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = impl std::fmt::Display> + Send + 'static {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to turn off Nagle's algorithm");
    }
    let activity = Activity::start(patience);
    let guarded = StallGuard::new(stream, Arc::clone(&activity));
    let service = service_fn(move |request: Request<Incoming>| {
        let (frame, activity) = (Arc::clone(&frame), Arc::clone(&activity));
        async move {
            let (answering, version) = (activity.answering(), request.version());
            let response = frame.handle(request.map(Body::new)).await;
            Ok::<_, Infallible>(match version {
                Version::HTTP_2 => paced(response, patience.unread, answering),
                _ => response.map(|body| until_sent(body, answering)),
            })
        }
    });
    builder.serve_connection(TokioIo::new(guarded), service).into_owned()
}

/// An answer that comes bit by bit is being answered until its end: reading nothing meanwhile is no fault of the client.
/// One that is whole already is left as it is, which costs nothing.
fn until_sent(body: Body, answering: Answering) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::from_stream(body.into_data_stream().inspect(move |_| _ = &answering))
}
