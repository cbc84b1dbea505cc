//! Measurements, run by hand: how long until a write is readable in the mirror, and how fast a mirror is filled.

use super::*;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --release -p outpost-storage feed::tests::latency -- --ignored --nocapture"]
async fn measure() {
    let Some(mut site) = Site::new().await else { return };
    site.start().await;
    site.caught_up().await;
    for (rounds, length) in [(1_000, 2_000), (300, 200_000)] {
        let text: String = (0..length).map(|_| fastrand::alphanumeric()).collect();
        let mut readable = Vec::new();
        let mut positioned = Vec::new();
        for round in 0..rounds {
            let mut session = site.client.start_session().await.unwrap();
            let wanted = format!("{text}{round}");
            let durable = crate::mongo::transaction::durable();
            let split = format!("s{}", round % 50);
            let responses = site.responses();
            let write = responses.replace_one(filter(&split), written(&split, &wanted)).upsert(true);
            write.write_concern(durable).session(&mut session).await.unwrap();
            let acknowledged = Instant::now();
            let wanted = json(&wanted);
            while site.body(&split) != wanted {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            readable.push(acknowledged.elapsed());
            let seq = stream::seq_of(session.operation_time().unwrap());
            drop(site.mirror().watch().wait_for(|at| *at >= seq).await.unwrap());
            positioned.push(acknowledged.elapsed());
        }
        show(&format!("{length} bytes, acknowledged to readable"), &mut readable);
        show(&format!("{length} bytes, acknowledged to position on disk"), &mut positioned);
    }
    site.responses().delete_many(doc! {}).await.unwrap();
    site.stop().await;
    let count = 20_000;
    let text: String =
        (0..1_000).map(|_| format!("{{\"row\":{},\"text\":\"word\"}}", fastrand::u32(..))).collect();
    for page in 0..count / 500 {
        let documents = (0..500).map(|number| written(&format!("s{}", page * 500 + number), &text[..5_000]));
        site.responses().insert_many(documents).await.unwrap();
    }
    let other = site.beside().await;
    let mut other = other;
    let begun = Instant::now();
    other.start().await;
    other.caught_up().await;
    let (took, summary) = (begun.elapsed(), other.mirror().summary());
    let rate = summary.raw_bytes as f64 / 1e6 / took.as_secs_f64();
    println!(
        "filled {} entries, {} raw bytes, {} stored in {took:?}: {rate:.1} MB/s",
        summary.entries, summary.raw_bytes, summary.stored_bytes
    );
    other.stop().await;
    site.databases.drop_both(&site.client).await;
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what}: p50 {:?}, p90 {:?}, p99 {:?}, max {:?}", at(50), at(90), at(99), at(100));
}
