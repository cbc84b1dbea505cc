//! The server goes away and comes back; the mirror serves, and catches up.

use super::server::OwnServer;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_and_started_again_is_followed_from_where_it_was() {
    let Some(mut server) = OwnServer::start().await else { return };
    let mut site = Site::at(&server.url()).await;
    site.responses().insert_one(written("a", "0")).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    for round in 1..=3 {
        server.kill();
        site.until("the feed noticed", || site.status().phase == FeedPhase::Retrying).await;
        assert!(site.body("a").is_some());
        assert!(site.status().last_error.is_some());
        server.launch();
        server.writable().await;
        site.responses().update_one(filter("a"), set(&round.to_string())).await.unwrap();
        site.until("it is followed again", || site.body("a") == json(&round.to_string())).await;
    }
    site.assert_equal().await;
    assert_eq!((site.status().scans, site.status().history_losses), (1, 0));
    assert!(site.status().reconnects >= 3);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_steps_down_is_followed_again() {
    let Some(server) = OwnServer::start().await else { return };
    let mut site = Site::at(&server.url()).await;
    site.responses().insert_one(written("a", "0")).await.unwrap();
    site.start().await;
    site.assert_equal().await;
    for round in 1..=3 {
        let step_down = doc! {"replSetStepDown": 1, "secondaryCatchUpPeriodSecs": 0, "force": true};
        // The server may end the connection instead of answering.
        drop(site.client.database("admin").run_command(step_down).await);
        assert!(site.body("a").is_some());
        server.writable().await;
        site.responses().update_one(filter("a"), set(&round.to_string())).await.unwrap();
        site.until("it is followed again", || site.body("a") == json(&round.to_string())).await;
    }
    site.assert_equal().await;
    assert_eq!((site.status().scans, site.status().history_losses), (1, 0));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_starts_without_a_server_and_fills_the_mirror_when_there_is_one() {
    let Some(mut server) = OwnServer::start().await else { return };
    let mut site = Site::at(&server.url()).await;
    site.responses().insert_one(written("a", "0")).await.unwrap();
    server.kill();
    let config = MongoConfig { url: server.url().replace("60000", "200"), ..site.config.clone() };
    site.feed = Some(MongoFeed::start(&config, site.mirror().clone()).await.unwrap());
    site.until("the feed noticed", || site.status().phase == FeedPhase::Retrying).await;
    assert_eq!((site.body("a"), site.mirror().position().seq), (None, 0));
    server.launch();
    server.writable().await;
    site.assert_equal().await;
    assert_eq!(site.body("a"), json("0"));
    site.stop().await;
}
