//! What a follower decides while its disk lags behind what its readers see.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::{Epoch, Position};
use outpost_sim::content::Content;
use outpost_sim::network::{Host, Network};
use outpost_sim::state::{State, Step};
use outpost_sim::store::MemStore;
use outpost_sim::truth::Truth;
use outpost_sim::webhooks::Desk;
use outpost_sync::relay::Passing;
use outpost_sync::source::{Batch, Target};
use outpost_sync::testing::{Origin, StillClock};
use outpost_sync::{Follower, Freshness, NodeId, Server, StatusBoard};

fn batch(epoch: Epoch, seq: u64) -> Batch {
    let changes = Content::new(6, fastrand::Rng::with_seed(seq)).changes(&State::empty(epoch, 8), seq, seq);
    Batch { epoch, changes, reached: Some(seq), left: Vec::new() }
}

fn disk(epoch: Epoch, seq: u64) -> State {
    let mut disk = State::empty(epoch, 400);
    disk.step(&Step::Apply(batch(epoch, seq)));
    disk
}

/// Puts an origin over `store` at the place 0.
fn serve(network: &Arc<Network>, store: Arc<MemStore>) {
    let server = Server::new(Arc::clone(&store) as _, Arc::new(Origin(NodeId(1))));
    let desk = Arc::new(Desk::Passing(Passing::new(Vec::new())));
    network.serve(0, Some(Host { server, store, desk }));
}

/// Lets `mirror`, at the place 1, follow the place 0; returns how many sessions it began.
async fn follow_for_a_minute(network: &Arc<Network>, mirror: &Arc<MemStore>) -> u64 {
    let freshness = Arc::new(Freshness::new(Arc::new(StillClock)));
    let board = Arc::new(StatusBoard::new(NodeId(2), Arc::clone(&freshness)));
    let target: Arc<dyn Target> = Arc::clone(mirror) as _;
    let ways = vec![network.way(1, 0, &Arc::default())];
    let following = tokio::spawn(Follower::new(target, ways, Arc::clone(&board), freshness, 3).run());
    tokio::time::sleep(Duration::from_secs(60)).await;
    following.abort();
    board.status().sessions
}

#[tokio::test(start_paused = true)]
async fn an_origin_in_a_history_that_readers_saw_left_is_refused_before_the_disk_knows() {
    let (old, new) = (Epoch(1), Epoch(2));
    let truth = Arc::new(Truth::new(false));
    let network = Network::new(2, 7);
    let origin = MemStore::open(0, true, disk(old, 10), 1, &truth);
    serve(&network, origin);

    // Nothing is flushed here: the disk stays in the old history.
    let mirror = MemStore::open(1, false, disk(old, 5), 2, &truth);
    mirror.apply(batch(new, 20)).await.unwrap();
    assert_eq!(mirror.on_disk(|state| state.position.epoch), old);
    let sessions = follow_for_a_minute(&network, &mirror).await;
    assert_eq!(mirror.visible(), Position { epoch: new, seq: 20 });
    assert!(sessions > 1, "the origin was asked");
}

#[tokio::test(start_paused = true)]
async fn a_follower_in_the_old_history_is_told_nothing_of_the_new_one_before_it_is_on_disk() {
    let (old, new) = (Epoch(1), Epoch(2));
    let truth = Arc::new(Truth::new(false));
    let network = Network::new(2, 7);
    // Nothing is flushed here: on disk it stands at 50 in the old history, its log is of the new one and has 21 to 50.
    let upstream = MemStore::open(0, false, disk(old, 50), 1, &truth);
    for seq in 20..=50 {
        upstream.apply(batch(new, seq)).await.unwrap();
    }
    assert_eq!(upstream.on_disk(|state| state.position), Position { epoch: old, seq: 50 });
    serve(&network, upstream);

    let mirror = MemStore::open(1, false, disk(old, 20), 2, &truth);
    let before = mirror.seen(State::digest);
    let sessions = follow_for_a_minute(&network, &mirror).await;
    assert_eq!(
        mirror.seen(|state| (state.position, state.digest())),
        (Position { epoch: old, seq: 20 }, before)
    );
    assert!(sessions > 1, "the upstream was asked");
}
