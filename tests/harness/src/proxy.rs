//! A TCP proxy that behaves badly when it is told to.
//!
//! Owns the connections between one port and one target. A fault holds for the connections there are and those to come,
//! until another one is set; healing lets what is open go on where that is still possible.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every piece comes later by this.
    Delay(Duration),
    /// Each connection ends after so many bytes, wherever that is in a frame.
    CutAfter(u64),
    /// Connections stay open and nothing comes through.
    Silence,
    /// Nobody listens.
    Refuse,
}

/// See the module.
pub struct FaultyProxy {
    address: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    connections: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl FaultyProxy {
    /// Stands in front of `target`, which need not be there yet.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen")?;
        let address = listener.local_addr().context("read the address")?;
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let connections = Arc::new(AtomicU64::new(0));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&fault), Arc::clone(&connections)));
        Ok(Self { address, fault, connections, accepting })
    }

    /// The address of the target as seen through the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets this go wrong from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Connections taken so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    connections: Arc<AtomicU64>,
) {
    while let Ok((near, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        if *fault.borrow() == Fault::Refuse {
            continue;
        }
        tokio::spawn(connect(near, target, fault.subscribe()));
    }
}

async fn connect(near: TcpStream, target: SocketAddr, fault: watch::Receiver<Fault>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let passed = Arc::new(AtomicU64::new(0));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let forth = pump(near_read, far_write, fault.clone(), Arc::clone(&passed));
    let back = pump(far_read, near_write, fault.clone(), passed);
    tokio::select! {
        () = forth => {}
        () = back => {}
        () = refused(fault) => {}
    }
}

/// Returns when connections are to be refused.
async fn refused(mut fault: watch::Receiver<Fault>) {
    // Without a proxy there is nobody to refuse.
    let _ = fault.wait_for(|fault| *fault == Fault::Refuse).await;
}

/// Passes bytes on until one side ends or the connection is cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
    passed: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let now = *fault.borrow_and_update();
        let mut allowed = length;
        match now {
            Fault::None => {}
            Fault::Refuse => return,
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            Fault::Silence => {
                if fault.wait_for(|fault| *fault != Fault::Silence).await.is_err() {
                    return;
                }
            }
            Fault::CutAfter(bytes) => {
                let before = passed.fetch_add(length as u64, Ordering::SeqCst);
                allowed = usize::try_from(bytes.saturating_sub(before)).unwrap_or(length).min(length);
            }
        }
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < length {
            return;
        }
    }
}
