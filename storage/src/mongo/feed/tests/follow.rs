//! Filling an empty mirror and following what happens.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_mirror_is_filled_and_then_follows() {
    let Some(mut site) = Site::new().await else { return };
    site.datasets().insert_one(record("u/d", "r1")).await.unwrap();
    site.responses().insert_many([written("a", "1"), written("b", "1"), written("c", "1")]).await.unwrap();
    assert_eq!(site.mirror().position().seq, 0);
    site.start().await;
    site.assert_equal().await;
    assert_eq!(site.mirror().dataset(&dataset("u/d")).unwrap().unwrap().revision.as_str(), "r1");
    site.responses().update_one(filter("a"), set("2")).await.unwrap();
    site.responses().delete_one(filter("b")).await.unwrap();
    site.responses().insert_one(written("d", "1")).await.unwrap();
    site.datasets().replace_one(doc! {"_id": "u/d"}, record("u/d", "r2")).await.unwrap();
    site.datasets().insert_one(record("u/e", "r1")).await.unwrap();
    // A guard without a record.
    site.datasets().insert_one(doc! {"_id": "u/guard", "version": 1i64}).await.unwrap();
    site.assert_equal().await;
    assert_eq!((site.body("a"), site.body("b"), site.body("d")), (json("2"), None, json("1")));
    assert_eq!(site.mirror().dataset(&dataset("u/d")).unwrap().unwrap().revision.as_str(), "r2");
    site.datasets().delete_one(doc! {"_id": "u/e"}).await.unwrap();
    site.responses().delete_many(doc! {}).await.unwrap();
    site.assert_equal().await;
    assert_eq!(site.mirror().dataset(&dataset("u/e")).unwrap(), None);
    assert_eq!((site.status().scans, site.status().phase), (1, FeedPhase::Following));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_deleted_and_created_again_is_there_with_its_new_content() {
    let Some(mut site) = Site::new().await else { return };
    site.start().await;
    for number in 0..30 {
        site.responses().delete_one(filter("a")).await.unwrap();
        site.responses().insert_one(written("a", &number.to_string())).await.unwrap();
    }
    site.assert_equal().await;
    assert_eq!(site.body("a"), json("29"));
    // The document of one key becomes that of another.
    site.responses().update_one(filter("a"), doc! {"$set": {"split": "b"}}).await.unwrap();
    site.assert_equal().await;
    assert_eq!((site.body("a"), site.body("b")), (None, json("29")));
    // To a kind that no reader asks for.
    site.responses().update_one(filter("b"), doc! {"$set": {"kind": "dataset-hub-cache"}}).await.unwrap();
    site.assert_equal().await;
    assert_eq!((site.body("b"), site.mirror().summary().quarantined), (None, 0));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_was_just_filled_tells_no_changes_from_before() {
    let Some(mut one) = Site::new().await else { return };
    one.responses().insert_many([written("a", "1"), written("b", "1")]).await.unwrap();
    one.start().await;
    let before = one.caught_up().await;
    one.responses().delete_one(filter("b")).await.unwrap();
    let mut two = one.beside().await;
    two.start().await;
    let after = two.caught_up().await;
    assert!(before.seq < after.seq && before.epoch == after.epoch);
    // It never had "b", and cannot tell a follower of the other primary that it is gone.
    assert_eq!(two.mirror().changes_after(before.seq, 9).unwrap(), None);
    two.stop().await;
    one.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_contains_whole_transactions_and_all_before_them() {
    let Some(mut site) = Site::new().await else { return };
    site.start().await;
    site.caught_up().await;
    // More than a batch of events holds.
    let count = limits::FEED_EVENTS_PER_BATCH_MAX + 300;
    let mut session = site.client.start_session().await.unwrap();
    for round in ["one", "two"] {
        session.start_transaction().await.unwrap();
        let responses = site.responses();
        if round == "one" {
            let documents = (0..count).map(|number| written(&format!("s{number}"), round));
            responses.insert_many(documents).session(&mut session).await.unwrap();
        } else {
            responses.update_many(doc! {}, set(round)).session(&mut session).await.unwrap();
        }
        session.commit_transaction().await.unwrap();
        let seq = stream::seq_of(session.operation_time().unwrap());
        let mut watch = site.mirror().watch();
        let seen = tokio::time::timeout(PATIENCE, watch.wait_for(|at| *at >= seq)).await.unwrap();
        drop(seen.unwrap());
        for number in 0..count {
            assert_eq!(site.body(&format!("s{number}")), json(round), "{round} {number}");
        }
        let told = site.mirror().changes_after(seq - 1, 1).unwrap().unwrap();
        assert_eq!(told.iter().filter(|(at, _)| *at == seq).count(), count as usize);
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_contains_every_acknowledged_write() {
    let Some(mut site) = Site::new().await else { return };
    site.start().await;
    // The log begins where the first fill ended.
    site.caught_up().await;
    for number in 0..40 {
        let before = site.mirror().position().seq;
        let mut session = site.client.start_session().await.unwrap();
        let (split, text) = (format!("s{}", number % 7), number.to_string());
        let responses = site.responses();
        let update = responses.replace_one(filter(&split), written(&split, &text)).upsert(true);
        update.session(&mut session).await.unwrap();
        let seq = stream::seq_of(session.operation_time().unwrap());
        let mut watch = site.mirror().watch();
        drop(tokio::time::timeout(PATIENCE, watch.wait_for(|at| *at >= seq)).await.unwrap().unwrap());
        assert_eq!(site.body(&split), json(&text));
        // The server states the time of its last write, which may be one of its own after this one.
        let told = site.mirror().changes_after(before, 10).unwrap().unwrap();
        assert_eq!(told.last().map(|(_, change)| change), Some(&Changed::Entry(rows(&split))));
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_elsewhere_moves_the_position_too() {
    let Some(mut site) = Site::new().await else { return };
    site.start().await;
    site.caught_up().await;
    let mut session = site.client.start_session().await.unwrap();
    let elsewhere = site.client.database(&site.databases.queue).collection::<Document>("jobsBlue");
    elsewhere.insert_one(doc! {"a": 1}).session(&mut session).await.unwrap();
    let seq = stream::seq_of(session.operation_time().unwrap());
    site.until("the position is past it", || site.mirror().position().seq >= seq).await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_primaries_come_to_the_same_position_and_content() {
    let Some(mut one) = Site::new().await else { return };
    let mut two = one.beside().await;
    one.start().await;
    let mut random = fastrand::Rng::with_seed(8);
    for number in 0..300 {
        if number == 150 {
            two.start().await;
        }
        random_write(&one, &mut random, number).await;
    }
    one.assert_equal().await;
    two.assert_equal().await;
    assert_same(&one, &two).await;
    // One misses a part, goes on, and is the same again.
    two.stop().await;
    for number in 300..400 {
        random_write(&one, &mut random, number).await;
    }
    two.reopen().await;
    two.start().await;
    one.assert_equal().await;
    two.assert_equal().await;
    assert_same(&one, &two).await;
    assert_eq!((two.status().scans, two.status().history_losses), (0, 0));
    two.stop().await;
    one.end().await;
}

async fn random_write(site: &Site, random: &mut fastrand::Rng, number: u64) {
    let split = format!("s{}", random.u8(..20));
    let text = "x".repeat(random.usize(..3_000)) + &number.to_string();
    match random.u8(..10) {
        0..=5 => {
            let document = written(&split, &text);
            site.responses().replace_one(filter(&split), document).upsert(true).await.unwrap();
        }
        6 | 7 => drop(site.responses().delete_one(filter(&split)).await.unwrap()),
        8 => {
            let name = format!("u/d{}", random.u8(..5));
            let document = record(&name, &format!("r{number}"));
            site.datasets().replace_one(doc! {"_id": &name}, document).upsert(true).await.unwrap();
        }
        _ => drop(site.datasets().delete_one(doc! {"_id": format!("u/d{}", random.u8(..5))}).await.unwrap()),
    }
}

async fn assert_same(one: &Site, two: &Site) {
    let same = |one: &MirrorSummary, two: &MirrorSummary| {
        (one.position, one.set_hash, one.entries, one.datasets, one.raw_bytes)
            == (two.position, two.set_hash, two.entries, two.datasets, two.raw_bytes)
    };
    // Both go on with the server's clock; they pass the same positions and hold the same at each.
    one.until("both are the same", || same(&one.mirror().summary(), &two.mirror().summary())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_during_the_first_scan_are_not_lost() {
    let Some(mut site) = Site::new().await else { return };
    let first: Vec<Document> = (0..3_000).map(|number| written(&format!("s{number}"), "0")).collect();
    site.responses().insert_many(first).await.unwrap();
    site.start().await;
    let mut random = fastrand::Rng::with_seed(1);
    let mut during = 0;
    for number in 1..400 {
        let split = format!("s{}", random.u32(..3_000));
        match random.u8(..4) {
            0 => drop(site.responses().delete_one(filter(&split)).await.unwrap()),
            1 => {
                site.responses().delete_one(filter(&split)).await.unwrap();
                site.responses().insert_one(written(&split, &number.to_string())).await.unwrap();
            }
            _ => drop(site.responses().update_one(filter(&split), set(&number.to_string())).await.unwrap()),
        }
        during += u32::from(site.mirror().position().seq == 0);
    }
    assert!(during > 0, "the scan ended before the first write");
    site.assert_equal().await;
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_are_fetched_again() {
    let Some(mut site) = Site::new().await else { return };
    let noise: String = (0..30_000).map(|_| fastrand::alphanumeric()).collect();
    site.responses().insert_one(written("a", &noise)).await.unwrap();
    site.datasets().insert_one(record("u/d", "r1")).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    let before = site.mirror().summary().set_hash;
    site.stop().await;
    site.mirror = None;
    damage(site.directory.path());
    site.reopen().await;
    assert_eq!(site.body("a"), None);
    assert_eq!(site.mirror().dataset(&dataset("u/d")).unwrap(), None);
    site.start().await;
    site.until("both are there again", || {
        site.body("a") == json(&noise) && site.mirror().dataset(&dataset("u/d")).unwrap().is_some()
    })
    .await;
    site.assert_equal().await;
    assert_eq!((site.status().mended, site.mirror().summary().set_hash), (2, before));
    site.end().await;
}

/// Flips a byte in the first chunk and in the first dataset's record.
fn damage(directory: &Path) {
    let (kv, _) = crate::kv::open(directory, 10_000, 1 << 20).unwrap();
    for (tree, from) in [(&kv.chunks, &b""[..]), (&kv.state, &b"d"[..])] {
        let (key, value) = tree.from(from).next().unwrap().unwrap();
        let mut value = value.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        let mut batch = crate::kv::Batch::new();
        batch.put(key.to_vec(), value);
        tree.apply(batch).unwrap();
    }
    kv.flush().unwrap();
}
