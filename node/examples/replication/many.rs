//! Many followers of one node: what they cost it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use outpost_storage::FeedSource;
use outpost_sync::wire::{Message, Tail};
use outpost_sync::{Answer, Call};

use crate::nodes::{Source, upstream};
use crate::records::{self, EPOCH};

const BYTES: usize = 2_000;

/// Measures the processor time of this process while `count` followers take `per_second` changes each second.
pub async fn followers(count: usize, per_second: u32, how_long: Duration) -> anyhow::Result<()> {
    let source = Source::start().await?;
    records::fill(&source.store, 0..1_000, BYTES, 0, |_| 0)?;
    source.store.flushed().await?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["followers", &count.to_string(), &format!("http://{}", source.address)])
        .stdout(Stdio::null())
        .spawn()?;
    let alone = cost(&source, per_second, Duration::from_secs(5), 1_001).await?;
    let seq = source.store.head().position.seq + 1;
    let together = cost(&source, per_second, how_long, seq).await?;
    child.kill()?;
    child.wait()?;
    println!(
        "| {count} followers, {per_second} changes a second of {BYTES} B | {together:.2} cores with the writes themselves \
         (while they connected {alone:.2}) |"
    );
    Ok(())
}

/// Processor seconds a second while changes are made.
async fn cost(source: &Source, per_second: u32, how_long: Duration, first_seq: u64) -> anyhow::Result<f64> {
    let (began, used) = (Instant::now(), processor_time()?);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut seq = first_seq;
    while began.elapsed() < how_long {
        ticks.tick().await;
        records::put(&source.store, usize::try_from(seq % 1_000)?, seq, BYTES, seq)?;
        seq += 1;
    }
    Ok((processor_time()? - used).as_secs_f64() / began.elapsed().as_secs_f64())
}

/// User and system time of this process so far, in the kernel's hundredths.
fn processor_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("/proc/self/stat");
    Ok(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// The followers' process: takes what comes and forgets it.
pub async fn follow(count: usize, address: &str) -> anyhow::Result<()> {
    let tails = (0..count).map(|number| {
        let address = address.to_owned();
        tokio::spawn(async move {
            let upstream = upstream(&address)?;
            let request = Tail { node: number as u128 + 2, epoch: EPOCH.0, seq: 1_000 };
            let mut tail = Answer::of(&*upstream, Call::Tail, request.into()).await?;
            while let Some(Message::Head(_) | Message::Records(_) | Message::Reached(_)) = tail.next().await?
            {
            }
            anyhow::Ok(())
        })
    });
    for tail in tails.collect::<Vec<_>>() {
        tail.await??;
    }
    Ok(())
}
