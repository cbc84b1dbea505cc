//! Going on after a restart, and coming back when the history is gone.

use super::server::OwnServer;
use super::*;
use crate::mirror_store::MirrorBatch;

/// Makes the bookmark useless.
pub(super) async fn forget(site: &Site) {
    let mirror = site.mirror();
    let (epoch, cursor) = (site.epoch().await, Some(Bytes::from_static(b"garbage")));
    mirror
        .apply(MirrorBatch { epoch, changes: Vec::new(), reached: None, cursor, left: Vec::new() })
        .unwrap();
    mirror.flushed().await.unwrap();
}

/// The server's code for it.
const HISTORY_LOST: i32 = 286;

async fn fill(site: &Site, count: u32) {
    let documents: Vec<Document> = (0..count).map(|number| written(&format!("s{number}"), "0")).collect();
    site.responses().insert_many(documents).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_without_comparing_everything() {
    let Some(mut site) = Site::new().await else { return };
    fill(&site, 50).await;
    site.start().await;
    site.assert_equal().await;
    let at = site.mirror().position();
    site.stop().await;
    site.responses().delete_one(filter("s1")).await.unwrap();
    site.responses().update_one(filter("s2"), set("changed")).await.unwrap();
    site.reopen().await;
    assert_eq!(site.mirror().position(), at);
    site.start().await;
    site.assert_equal().await;
    let status = site.status();
    assert_eq!((status.scans, status.events, status.documents), (0, 2, 1));
    let told = site.mirror().changes_after(at.seq, 10).unwrap().unwrap();
    let told: Vec<Changed> = told.into_iter().map(|(_, change)| change).collect();
    assert_eq!(told, [Changed::Entry(rows("s1")), Changed::Entry(rows("s2"))]);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_was_interrupted_goes_on_where_it_was() {
    let Some(mut site) = Site::new().await else { return };
    fill(&site, 4_000).await;
    let mut scans = 0;
    for round in 0..5 {
        site.start().await;
        let wanted = u64::min(round * 700 + 1, 3_500);
        site.until("some are there", || site.mirror().summary().entries >= wanted).await;
        scans += site.stop().await.scans;
        site.reopen().await;
    }
    site.start().await;
    site.assert_equal().await;
    let read = site.status().documents;
    assert_eq!(scans + site.status().scans, 1);
    assert!(read < 4_000, "the last start alone read {read}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_history_is_made_up_for_by_comparing_while_serving() {
    let Some(server) = OwnServer::start().await else { return };
    let mut site = Site::at(&server.url()).await;
    fill(&site, 1_200).await;
    site.datasets().insert_many([record("u/d", "r1"), record("u/gone", "r1")]).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    site.stop().await;
    site.mirror().flushed().await.unwrap();
    let before = site.mirror().position();
    site.responses().delete_many(doc! {"split": {"$in": ["s0", "s7", "s1199"]}}).await.unwrap();
    site.responses().update_one(filter("s5"), set("changed")).await.unwrap();
    site.responses().insert_one(written("new", "1")).await.unwrap();
    site.datasets().delete_one(doc! {"_id": "u/gone"}).await.unwrap();
    server.fail_feed("aggregate", HISTORY_LOST).await;
    site.start().await;
    // What did not change is served all the while.
    let unchanged = || assert_eq!(site.body("s100"), json("0"));
    site.until("it is whole again", || {
        unchanged();
        site.mirror().position().seq > before.seq
    })
    .await;
    site.assert_equal().await;
    assert_eq!((site.status().history_losses, site.status().scans), (1, 1));
    assert_eq!((site.body("s7"), site.body("s5"), site.body("new")), (None, json("changed"), json("1")));
    // Followers are told just the difference.
    let told = site.mirror().changes_after(before.seq, 100).unwrap().unwrap();
    let told: Vec<&Changed> = told.iter().map(|(_, change)| change).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    // The history may also be lost under an open stream.
    server.fail_feed("getMore", HISTORY_LOST).await;
    site.until("it noticed", || site.status().history_losses == 2).await;
    site.responses().update_one(filter("s5"), set("again")).await.unwrap();
    site.assert_equal().await;
    assert_eq!(site.body("s5"), json("again"));
    site.stop().await;
}

/// As before, with a server whose log of writes really no longer reaches back.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_writes_that_was_cut_is_made_up_for_by_comparing() {
    let Some(server) = OwnServer::with_oplog(1).await else { return };
    let mut site = Site::at(&server.url()).await;
    fill(&site, 50).await;
    site.start().await;
    site.assert_equal().await;
    site.stop().await;
    site.mirror().flushed().await.unwrap();
    site.responses().delete_one(filter("s7")).await.unwrap();
    site.responses().update_one(filter("s5"), set("changed")).await.unwrap();
    server.roll_over().await;
    site.start().await;
    site.assert_equal().await;
    assert_eq!((site.status().history_losses, site.status().scans), (1, 1));
    assert_eq!((site.body("s7"), site.body("s5"), site.body("s6")), (None, json("changed"), json("0")));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_collection_empties_the_mirror() {
    let Some(mut site) = Site::new().await else { return };
    fill(&site, 20).await;
    site.datasets().insert_one(record("u/d", "r1")).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    site.responses().drop().await.unwrap();
    site.until("the entries are gone", || site.mirror().summary().entries == 0).await;
    site.responses().insert_one(written("new", "1")).await.unwrap();
    site.assert_equal().await;
    assert_eq!((site.body("new"), site.mirror().summary().datasets), (json("1"), 1));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_database_is_a_new_history() {
    let Some(mut site) = Site::new().await else { return };
    fill(&site, 20).await;
    site.start().await;
    site.assert_equal().await;
    let before = site.mirror().position();
    site.cache().drop().await.unwrap();
    site.until("the new history is whole", || {
        let position = site.mirror().position();
        position.epoch != before.epoch && site.mirror().summary().entries == 0
    })
    .await;
    site.responses().insert_one(written("s3", "again")).await.unwrap();
    site.assert_equal().await;
    assert_eq!(site.body("s3"), json("again"));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_epoch_is_taken_over_whole_and_at_once() {
    let Some(mut site) = Site::new().await else { return };
    fill(&site, 20).await;
    site.start().await;
    site.assert_equal().await;
    let meta = site.cache().collection::<Document>(names::META);
    let epoch = doc! {"$set": {"epoch": format!("{:032x}", 77)}};
    meta.update_one(doc! {"_id": "epoch"}, epoch).await.unwrap();
    site.until("the position is of the new history", || site.mirror().position().epoch == Epoch(77)).await;
    site.assert_equal().await;
    // So it is after an end without a feed.
    site.stop().await;
    let epoch = doc! {"$set": {"epoch": format!("{:032x}", 78)}};
    meta.update_one(doc! {"_id": "epoch"}, epoch).await.unwrap();
    site.responses().delete_one(filter("s1")).await.unwrap();
    site.reopen().await;
    site.start().await;
    site.assert_equal().await;
    assert_eq!((site.mirror().position().epoch, site.body("s1")), (Epoch(78), None));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_mirror_is_set_aside_and_filled_again() {
    let Some(mut site) = Site::new().await else { return };
    fill(&site, 20).await;
    site.start().await;
    site.assert_equal().await;
    site.stop().await;
    site.mirror = None;
    std::fs::write(site.directory.path().join("condemned"), b"").unwrap();
    site.reopen().await;
    assert!(site.mirror().open_report().set_aside.is_some());
    site.start().await;
    site.assert_equal().await;
    assert_eq!(site.status().scans, 1);
    site.end().await;
}
