//! Measures replication between stores over real sockets (PERFORMANCE.md, "Replication").
//!
//! Owns one figure for each row of the promises: catching up from empty, change to readable, reads beside a bulk sync, a
//! switched upstream, the proof of equality, the cost of many followers. Everything runs on loopback, in this process,
//! but the many followers, which are a process of their own so that their cost is not counted.

#![allow(clippy::print_stdout, reason = "the table is what this program is for")]

mod counting;
mod figures;
mod many;
mod nodes;
mod records;

use std::time::Duration;

use anyhow::{Context, bail};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["followers", count, address] = arguments[..] {
        return many::follow(count.parse()?, address).await;
    }
    let number = |at: usize, default: usize| match arguments.get(at) {
        Some(text) => text.parse().with_context(|| format!("{text} is not a number")),
        None => Ok(default),
    };
    if arguments.first().is_some_and(|first| first.starts_with('-')) {
        bail!(
            "usage: replication [ENTRIES [MANY]]: entries of 3 kB to catch up with, small entries to switch with"
        );
    }
    let (entries, many_entries) = (number(0, 100_000)?, number(1, 1_000_000)?);
    println!("| what | measured |\n|---|---|");
    figures::catch_up(entries).await?;
    figures::change_to_readable(1_000, Duration::from_millis(20)).await?;
    figures::reads_beside_a_sync(entries / 2).await?;
    figures::switch(many_entries, 100).await?;
    many::followers(50, 500, Duration::from_secs(15)).await
}
