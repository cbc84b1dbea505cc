//! Documents that cannot be mirrored: kept out, counted, told, and read again when they change.

use super::*;

async fn insert_poison(site: &Site) {
    let large = "x".repeat(15_000_000);
    let mut unknown_error = written("unknown_error", "");
    unknown_error.extend(doc! {"http_status": 500, "error_code": "SomethingOfTheFuture"});
    let mut no_revision = written("no_revision", "");
    no_revision.remove("dataset_git_revision");
    let mut status_as_text = written("status", "");
    status_as_text.insert("http_status", "200");
    let mut nul = written("nul", "");
    nul.insert("dataset", "u/d\0e");
    let mut no_split = written("x", "");
    no_split.insert("split", Bson::Null);
    let mut content = written("content", "");
    content.insert("content", "text");
    let mut other_id = written("other_id", "");
    other_id.insert("_id", 5);
    let mut foreign_kind = written("foreign", "");
    foreign_kind.insert("kind", "dataset-hub-cache");
    let documents = [
        written("large", &large),
        unknown_error,
        no_revision,
        status_as_text,
        nul,
        no_split,
        content,
        other_id,
        foreign_kind,
    ];
    for document in documents {
        site.responses().insert_one(document).await.unwrap();
    }
    let mut visibility = record("u/visibility", "r1");
    visibility.insert("visibility", "secret");
    site.datasets().insert_one(visibility).await.unwrap();
}

/// Documents of [`insert_poison`] in quarantine; that of a foreign kind is not among them.
const POISON: u64 = 9;

#[tokio::test(flavor = "multi_thread")]
async fn poison_neither_stops_the_feed_nor_is_skipped_silently() {
    let Some(mut site) = Site::new().await else { return };
    site.start().await;
    site.caught_up().await;
    site.responses().insert_one(written("before", "1")).await.unwrap();
    insert_poison(&site).await;
    site.responses().insert_one(written("after", "1")).await.unwrap();
    site.assert_equal().await;
    assert_eq!((site.body("before"), site.body("after")), (json("1"), json("1")));
    let quarantined = site.mirror().quarantined(None, 100).unwrap();
    assert_eq!((quarantined.len() as u64, site.mirror().summary().quarantined), (POISON, POISON));
    let told = |what: &str, why: &str| {
        let found = quarantined.iter().any(|found| found.what.contains(what) && found.why.contains(why));
        assert!(found, "{what}, {why}: {quarantined:#?}");
    };
    told("large", "bytes as JSON");
    told("unknown_error", "SomethingOfTheFuture");
    told("no_revision", "dataset_git_revision is missing");
    told("status", "http_status is of BSON type String");
    told("u/d\\0e", "dataset");
    told("content", "not an object");
    told("other_id", "not an ObjectId");
    told("u/visibility", "visibility has the unknown value");
    assert!(quarantined.iter().all(|found| found.what.len() + found.why.len() < 2_000));
    // Nothing of it stops the next start, which reads it again.
    site.reopen().await;
    site.start().await;
    site.assert_equal().await;
    assert_eq!(site.mirror().summary().quarantined, POISON);
    // Mended and deleted documents leave.
    site.responses().update_one(filter("large"), set("small")).await.unwrap();
    let known = doc! {"$set": {"error_code": "UnexpectedError"}};
    site.responses().update_one(filter("unknown_error"), known).await.unwrap();
    site.responses().delete_one(filter("status")).await.unwrap();
    site.datasets().replace_one(doc! {"_id": "u/visibility"}, record("u/visibility", "r1")).await.unwrap();
    site.assert_equal().await;
    assert_eq!((site.body("large"), site.mirror().summary().quarantined), (json("small"), POISON - 4));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_becomes_unreadable_is_no_longer_served() {
    let Some(mut site) = Site::new().await else { return };
    site.responses().insert_one(written("a", "1")).await.unwrap();
    site.datasets().insert_one(record("u/d", "r1")).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    site.responses().update_one(filter("a"), doc! {"$unset": {"http_status": 1}}).await.unwrap();
    site.datasets().update_one(doc! {"_id": "u/d"}, doc! {"$set": {"visibility": 5}}).await.unwrap();
    site.caught_up().await;
    assert_eq!((site.body("a"), site.mirror().dataset(&dataset("u/d")).unwrap()), (None, None));
    assert_eq!(site.mirror().summary().quarantined, 2);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_quarantines_and_releases_too() {
    let Some(mut site) = Site::new().await else { return };
    insert_poison(&site).await;
    site.responses().insert_one(written("a", "1")).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    assert_eq!(site.body("a"), json("1"));
    // The one whose `_id` is no ObjectId is seen by the stream only.
    assert_eq!(site.mirror().summary().quarantined, POISON - 1);
    site.stop().await;
    site.responses().delete_one(filter("large")).await.unwrap();
    site.datasets().delete_one(doc! {"_id": "u/visibility"}).await.unwrap();
    history::forget(&site).await;
    site.start().await;
    site.assert_equal().await;
    assert_eq!(site.mirror().summary().quarantined, POISON - 3);
    site.end().await;
}
