//! One function a figure, each with its own stores.

use std::time::{Duration, Instant};

use anyhow::ensure;
use outpost_storage::{FeedSource, Mirror, MirrorStore};
use outpost_sync::wire::Compare;
use outpost_sync::{Answer, Call};

use crate::nodes::{Replica, Source};
use crate::records;

const BYTES: usize = 3_000;
const SMALL_BYTES: usize = 200;

fn row(what: &str, measured: &str) {
    println!("| {what} | {measured} |");
}

fn percentile(sorted: &[Duration], per_cent: usize) -> Duration {
    sorted[(sorted.len() - 1) * per_cent / 100]
}

/// From nothing to everything.
pub async fn catch_up(entries: usize) -> anyhow::Result<()> {
    let source = Source::start().await?;
    records::fill(&source.store, 0..entries, BYTES, 0, |_| 0)?;
    source.store.flushed().await?;
    let stored = source.store.summary().stored_bytes;
    let mut replica = Replica::new()?;
    let began = Instant::now();
    replica.follow(source.upstream()?);
    replica.stands_at(entries as u64).await?;
    replica.store.flushed().await?;
    let took = began.elapsed();
    ensure!(replica.store.summary().set_hash == source.store.summary().set_hash, "the stores differ");
    let rate = stored as f64 / 1e6 / took.as_secs_f64();
    let (calls, ..) = replica.counts.read();
    let what = format!("catching up from empty: {entries} entries, {:.0} MB as stored", stored as f64 / 1e6);
    row(&what, &format!("{rate:.0} MB/s, {:.1} s to the disk, {calls} round trips", took.as_secs_f64()));
    Ok(())
}

/// From a change at the source to its content at the replica.
pub async fn change_to_readable(changes: usize, pause: Duration) -> anyhow::Result<()> {
    let source = Source::start().await?;
    records::fill(&source.store, 0..1_000, BYTES, 0, |_| 0)?;
    source.store.flushed().await?;
    let mut replica = Replica::new()?;
    replica.follow(source.upstream()?);
    replica.stands_at(1_000).await?;
    let mut took = Vec::new();
    for number in 0..changes {
        let (entry, seq) = (number % 1_000, 1_001 + number as u64);
        let wanted = records::entry(entry, seq, BYTES)?.version;
        let began = Instant::now();
        records::put(&source.store, entry, seq, BYTES, seq)?;
        while replica.store.get(&records::key(entry))?.is_none_or(|found| found.version != wanted) {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        took.push(began.elapsed());
        tokio::time::sleep(pause).await;
    }
    took.sort_unstable();
    let what = format!("change to readable at the replica, {changes} changes of {BYTES} B");
    row(&what, &format!("p50 {:.1?}, p99 {:.1?}", percentile(&took, 50), percentile(&took, 99)));
    Ok(())
}

/// Reads of what the replica has, idle and while it takes as much again through a stage.
pub async fn reads_beside_a_sync(entries: usize) -> anyhow::Result<()> {
    let source = Source::start().await?;
    records::fill(&source.store, 0..entries, BYTES, 0, |_| 0)?;
    source.store.flushed().await?;
    let mut replica = Replica::new()?;
    replica.follow(source.upstream()?);
    replica.stands_at(entries as u64).await?;
    replica.store.flushed().await?;
    replica.stop();
    let idle = read_for(&replica.store, entries, || false, 20_000).await?;
    // More than the log keeps, so that it comes in through a stage.
    let goal = entries + entries * 5 / 2;
    records::fill(&source.store, entries..goal, BYTES, 0, |_| 0)?;
    source.store.flushed().await?;
    let before = replica.board.status().reconciliations;
    replica.follow(source.upstream()?);
    let (store, seq) = (replica.store.clone(), goal as u64);
    let busy = read_for(&replica.store, entries, move || store.visible().seq == seq, usize::MAX).await?;
    let staged = replica.board.status().reconciliations - before;
    let figures = |took: &[Duration]| {
        format!("p50 {:.0?}, p99 {:.0?} ({} reads)", percentile(took, 50), percentile(took, 99), took.len())
    };
    row("reads from the store, idle", &figures(&idle));
    let what = format!("reads while {} entries come in, {staged} reconciliations", goal - entries);
    row(&what, &figures(&busy));
    Ok(())
}

async fn read_for(
    store: &MirrorStore,
    entries: usize,
    is_over: impl Fn() -> bool + Send + 'static,
    reads_max: usize,
) -> anyhow::Result<Vec<Duration>> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || {
        let mut took = Vec::new();
        while took.len() < reads_max && !is_over() {
            let key = records::key(fastrand::usize(..entries));
            let began = Instant::now();
            ensure!(store.get(&key)?.is_some(), "an entry is missing");
            took.push(began.elapsed());
            std::thread::sleep(Duration::from_micros(200));
        }
        took.sort_unstable();
        Ok(took)
    })
    .await?
}

/// A replica that followed one upstream goes on with another, whose log does not reach back.
pub async fn switch(entries: usize, changed: usize) -> anyhow::Result<()> {
    let first = Source::start().await?;
    records::fill(&first.store, 0..entries, SMALL_BYTES, 0, |_| 0)?;
    first.store.flushed().await?;
    let mut replica = Replica::new()?;
    let began = Instant::now();
    replica.follow(first.upstream()?);
    replica.stands_at(entries as u64).await?;
    replica.store.flushed().await?;
    let filled = began.elapsed();
    let (_, _, full_copy) = replica.counts.read();
    replica.stop();
    drop(first);
    let second = Source::start().await?;
    let step = entries / changed;
    records::fill(&second.store, 0..entries, SMALL_BYTES, entries as u64, |number| {
        u64::from(number % step == 0)
    })?;
    // Its log begins behind where the replica stands, so everything has to be compared.
    let seq = 2 * entries as u64;
    second.store.flushed().await?;
    equality(&second).await?;
    let began = Instant::now();
    replica.follow(second.upstream()?);
    replica.stands_at(seq).await?;
    let took = began.elapsed();
    replica.store.flushed().await?;
    ensure!(
        replica.board.status().reconciliations > 1,
        "the log was of use: take more entries than it keeps"
    );
    ensure!(replica.store.head().set_hash == second.store.head().set_hash, "the stores differ");
    let (calls, sent, received) = replica.counts.read();
    let share = 100.0 * (sent + received) as f64 / full_copy as f64;
    row(
        &format!("{entries} entries, {changed} changed, upstream switched, log of no use"),
        &format!(
            "{calls} round trips, {} kB up, {} kB down, {share:.2} % of a full copy ({} MB in {filled:.1?}), {took:.2?}",
            sent / 1_000,
            received / 1_000,
            full_copy / 1_000_000
        ),
    );
    Ok(())
}

async fn equality(source: &Source) -> anyhow::Result<()> {
    let upstream = source.upstream()?;
    let request = Compare { node: 1, ranges: Vec::new() };
    let began = Instant::now();
    let head = Answer::of(&*upstream, Call::Head, request.clone().into()).await?.expect().await?;
    let took = began.elapsed();
    let bytes = outpost_sync::frame::encode(&request.into()).len() + outpost_sync::frame::encode(&head).len();
    row("proof of equality", &format!("1 round trip, {bytes} B, {took:.1?}"));
    Ok(())
}
