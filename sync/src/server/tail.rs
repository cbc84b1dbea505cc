//! `tail`: everything from a position on, as it happens.
//!
//! Owns the pace: one batch at a time, a pause between two, a heartbeat each second. The log is not held for a follower
//! that does not read: it is told of the gap when it reads again.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::{Epoch, limits};
use tokio::time::{Instant, sleep_until};

use super::{Ended, Out, Server};
use crate::call::{Refusal, RefusalCode};
use crate::mutation::{Mutation, is_planted};
use crate::source::{Source, StoreError};
use crate::wire;

/// Whether a tail can start where the caller stands.
pub(super) async fn check(source: &dyn Source, request: &wire::Tail) -> Result<(), Refusal> {
    let head = source.head().position;
    if head.epoch.0 != request.epoch {
        return Err(Refusal::new(
            RefusalCode::ForeignHistory,
            format!("this node is in the history {}, the caller in {}", head.epoch, Epoch(request.epoch)),
        ));
    }
    if request.seq > head.seq {
        return Err(Refusal::new(
            RefusalCode::Ahead,
            format!("this node stands at {}, the caller already at {}", head.seq, request.seq),
        ));
    }
    match source.changes_after(request.seq, 1).await? {
        Some(_) => Ok(()),
        None if is_planted(Mutation::GapIsIgnored) => Ok(()),
        None => Err(gap(request.seq)),
    }
}

fn gap(seq: u64) -> Refusal {
    Refusal::new(RefusalCode::Gap, format!("the log of this node does not reach back to {seq}"))
}

/// Waits for `work`, with a heartbeat each second.
async fn beating<T>(
    server: &Server,
    out: &Out,
    next_heartbeat: &mut Instant,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Ended> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done?),
            () = sleep_until(*next_heartbeat) => {}
        }
        out.send(server.head()).await?;
        *next_heartbeat = Instant::now() + HEARTBEAT;
    }
}

const HEARTBEAT: Duration = Duration::from_millis(limits::SYNC_HEARTBEAT_MS);

/// Writes until the caller is gone, the history ends or the log no longer reaches back.
pub(super) async fn tail(server: Arc<Server>, request: wire::Tail, out: Out) -> Result<(), Ended> {
    let epoch = Epoch(request.epoch);
    let mut news = server.source.watch();
    let mut at = request.seq;
    let pause = Duration::from_millis(limits::SYNC_BATCH_PAUSE_MS);
    let mut next_heartbeat = Instant::now();
    loop {
        if Instant::now() >= next_heartbeat {
            out.send(server.head()).await?;
            next_heartbeat = Instant::now() + HEARTBEAT;
        }
        // Marked as seen before the position is read: a change in between wakes again.
        news.borrow_and_update();
        let position = server.source.head().position;
        if position.epoch != epoch {
            return Ok(());
        }
        if at < position.seq {
            let making = server.batches.after(epoch, at);
            let Some(batch) = beating(&server, &out, &mut next_heartbeat, making).await? else {
                if is_planted(Mutation::GapIsIgnored) {
                    at = position.seq;
                    out.send(wire::Reached { seq: at, set_hash: None }).await?;
                    continue;
                }
                return Ok(());
            };
            for frame in &batch.frames {
                out.send_frame(frame.clone()).await?;
            }
            at = batch.end;
            tokio::time::sleep(pause).await;
            continue;
        }
        tokio::select! {
            biased;
            () = out.closed() => return Ok(()),
            changed = news.changed() => if changed.is_err() { return Ok(()) },
            () = sleep_until(next_heartbeat) => {}
        }
    }
}
