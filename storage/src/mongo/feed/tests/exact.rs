//! At a position the mirror holds what the database held then, no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mongodb::bson::oid::ObjectId;
use outpost_model::SetHash;

use super::super::fetch::Fetcher;
use super::super::stream::{Place, seq_of};
use super::*;

const WRITERS: u32 = 4;
const WRITES: u32 = 250;
const KEYS: u32 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_read_as_they_were_and_later_ones_say_how_late() {
    let Some(site) = Site::new().await else { return };
    let mut session = site.client.start_session().await.unwrap();
    site.responses().insert_one(written("a", "then")).session(&mut session).await.unwrap();
    let then = seq_of(session.operation_time().unwrap());
    site.responses().update_one(filter("a"), set("now")).session(&mut session).await.unwrap();
    let now = seq_of(session.operation_time().unwrap());
    let mut fetcher = Fetcher::new(&site.cache(), site.client.start_session().await.unwrap());
    for (at, text, seen) in
        [(then, "then", then..=then), (now, "now", now..=now), (1 << 32, "now", now..=u64::MAX)]
    {
        fetcher.see(at);
        let first = Bson::ObjectId(ObjectId::from_bytes([0; 12]));
        let page = fetcher.after(Place::Responses, first).await.unwrap();
        let body = response::read_entry(&page.found[0].raw).unwrap().body;
        assert_eq!((page.is_last, Some(body)), (true, json(text)), "at {at}");
        assert!(seen.contains(&fetcher.seen()), "at {at}: {}", fetcher.seen());
    }
    site.end().await;
}

/// Every state that a mirror shows, by its position.
async fn states(mirror: MirrorStore, is_over: Arc<AtomicBool>) -> BTreeMap<u64, SetHash> {
    let mut seen = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let (position, hash) = mirror.visible_hash();
        let before = seen.insert(position.seq, hash);
        assert!(before.is_none_or(|before| before == hash), "another state at {position}");
        tokio::task::yield_now().await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn two_primaries_hold_the_same_at_the_same_position() {
    let Some(mut one) = Site::new().await else { return };
    let documents: Vec<Document> = (0..KEYS).map(|number| written(&format!("s{number}"), "0")).collect();
    one.responses().insert_many(documents).await.unwrap();
    let mut two = one.beside().await;
    one.start().await;
    two.start().await;
    let end = one.caught_up().await.seq.max(two.caught_up().await.seq);
    let is_over = Arc::new(AtomicBool::new(false));
    let watching: Vec<_> = [&one, &two]
        .map(|site| tokio::spawn(states(site.mirror().clone(), is_over.clone())))
        .into_iter()
        .collect();
    // Quick writes of few documents: each is written again before its change is read.
    let writers = (0..WRITERS).map(|writer| {
        let responses = one.responses();
        tokio::spawn(async move {
            for number in 0..WRITES {
                // Waited for by a majority, which moves what a majority has with each.
                let (split, text) = (format!("s{}", number % KEYS), format!("{writer} {number}"));
                responses.update_one(filter(&split), set(&text)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    one.caught_up().await;
    two.caught_up().await;
    is_over.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for watching in watching {
        seen.push(watching.await.unwrap());
    }
    let shared: Vec<&u64> = seen[0].keys().filter(|seq| **seq > end && seen[1].contains_key(seq)).collect();
    assert!(!shared.is_empty(), "no position was seen at both");
    for seq in shared {
        assert_eq!(seen[0][seq], seen[1][seq], "at {seq}");
    }
    two.stop().await;
    one.end().await;
}
