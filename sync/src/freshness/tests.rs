use std::sync::atomic::{AtomicU64, Ordering};

use outpost_model::Epoch;

use super::*;

#[derive(Default)]
struct Wall(AtomicU64);

impl WallClock for Wall {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn at(seq: u64) -> Position {
    Position { epoch: Epoch(1), seq }
}

async fn pass(wall: &Wall, ms: u64) {
    wall.0.fetch_add(ms, Ordering::SeqCst);
    tokio::time::advance(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn age_counts_from_the_question_not_from_the_answer() {
    let wall = Arc::new(Wall::default());
    let freshness = Freshness::new(wall.clone());
    assert_eq!(freshness.age(), None);
    let asked = freshness.moment();
    pass(&wall, 700).await;
    freshness.told(asked, at(5), Duration::from_millis(50), at(5));
    assert_eq!(freshness.age(), Some(Duration::from_millis(750)));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_not_reached_makes_nothing_fresh() {
    let wall = Arc::new(Wall::default());
    let freshness = Freshness::new(wall.clone());
    freshness.told(freshness.moment(), at(5), Duration::ZERO, at(4));
    pass(&wall, 1_000).await;
    assert_eq!(freshness.age(), None);
    freshness.stands_at(Position { epoch: Epoch(2), seq: 9 });
    assert_eq!(freshness.age(), None);
    freshness.stands_at(at(6));
    assert_eq!(freshness.age(), Some(Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_machine_and_a_clock_set_back_both_age() {
    let wall = Arc::new(Wall(AtomicU64::new(1_000_000)));
    let freshness = Freshness::new(wall.clone());
    freshness.told(freshness.moment(), at(1), Duration::ZERO, at(1));
    wall.0.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(freshness.age(), Some(Duration::from_secs(60)));
    wall.0.store(0, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(freshness.age(), Some(Duration::from_secs(5)));
}

#[tokio::test(start_paused = true)]
async fn what_is_on_disk_is_as_old_as_what_was_known_of_it_and_not_as_what_readers_see() {
    let wall = Arc::new(Wall::default());
    let freshness = Freshness::new(wall.clone());
    freshness.told(freshness.moment(), at(5), Duration::ZERO, at(5));
    pass(&wall, 1_000).await;
    freshness.told(freshness.moment(), at(6), Duration::ZERO, at(6));
    assert_eq!(freshness.age(), Some(Duration::ZERO));
    assert_eq!(freshness.age_at(&at(5)), Some(Duration::from_secs(1)));
    assert_eq!(freshness.age_at(&at(6)), Some(Duration::ZERO));
    assert_eq!(freshness.age_at(&at(4)), None);
}
