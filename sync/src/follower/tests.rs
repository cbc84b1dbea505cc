//! Following a scripted feed.

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;
use outpost_model::{DatasetName, Epoch};
use tokio::sync::{mpsc, oneshot, watch};

use super::*;

/// A feed whose history the test writes.
struct Fake {
    history: Mutex<History>,
    news: watch::Sender<u64>,
}

type Write = Box<dyn FnOnce(&mut History) + Send>;

struct History {
    position: Position,
    changes: Vec<(u64, Changed)>,
    /// Changes up to here are forgotten.
    trimmed_to: u64,
    failures_left: usize,
    /// Runs once, right before changes are read.
    before_read: Option<Write>,
}

impl History {
    fn add(&mut self, names: &[&str]) {
        self.position.seq += 1;
        let seq = self.position.seq;
        self.changes.extend(names.iter().map(|name| (seq, change(name))));
    }
}

fn change(name: &str) -> Changed {
    Changed::Dataset(DatasetName::new(name).unwrap())
}

impl Fake {
    fn new() -> Arc<Self> {
        let position = Position { epoch: Epoch(1), seq: 0 };
        let history =
            History { position, changes: Vec::new(), trimmed_to: 0, failures_left: 0, before_read: None };
        Arc::new(Self { history: Mutex::new(history), news: watch::Sender::new(0) })
    }

    /// Changes the history and tells followers.
    fn write(&self, write: impl FnOnce(&mut History)) -> Position {
        let mut history = self.history.lock().unwrap();
        write(&mut history);
        self.news.send_replace(history.position.seq);
        history.position
    }

    fn fail(history: &mut History) -> Result<(), FeedError> {
        if history.failures_left > 0 {
            history.failures_left -= 1;
            return Err(FeedError("planned by the test".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl ChangeFeed for Fake {
    async fn position(&self) -> Result<Position, FeedError> {
        let mut history = self.history.lock().unwrap();
        Self::fail(&mut history)?;
        Ok(history.position)
    }

    async fn changes_after(&self, after: Position, limit: usize) -> Result<Changes, FeedError> {
        let mut history = self.history.lock().unwrap();
        if let Some(write) = history.before_read.take() {
            write(&mut history);
        }
        if after.epoch != history.position.epoch || after.seq < history.trimmed_to {
            return Ok(Changes::Gap);
        }
        let later = history.changes.iter().filter(|(seq, _)| *seq > after.seq);
        Ok(Changes::Known(later.take(limit).cloned().collect()))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

#[derive(Debug, PartialEq)]
enum Told {
    Changed(Changed),
    Forget,
    Reached(Position),
}

struct Recorder(mpsc::UnboundedSender<Told>);

impl Sink for Recorder {
    fn changed(&mut self, change: &Changed) {
        self.0.send(Told::Changed(change.clone())).unwrap();
    }

    fn forget_everything(&mut self) {
        self.0.send(Told::Forget).unwrap();
    }

    fn reached(&mut self, position: Position) {
        self.0.send(Told::Reached(position)).unwrap();
    }
}

/// A running follower and what it tells.
struct Running {
    told: mpsc::UnboundedReceiver<Told>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Recorder>,
}

fn follow(feed: &Arc<Fake>) -> Running {
    let (sender, told) = mpsc::unbounded_channel();
    let mut follower = Follower::new(feed.clone(), Recorder(sender));
    follower.retry_after = Duration::from_millis(1);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(follower.run(async { stopped.await.unwrap_or_default() }));
    Running { told, stop: Some(stop), task }
}

impl Running {
    /// Everything told until `position` was reached.
    async fn until(&mut self, position: Position) -> Vec<Told> {
        let mut told = Vec::new();
        let wait = async {
            while told.last() != Some(&Told::Reached(position)) {
                told.push(self.told.recv().await.expect("the follower runs"));
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the follower catches up");
        told
    }
}

fn names(told: &[Told]) -> Vec<String> {
    let name = |told: &Told| match told {
        Told::Changed(Changed::Dataset(name)) => Some(name.to_string()),
        _ => None,
    };
    told.iter().filter_map(name).collect()
}

#[tokio::test]
async fn every_change_is_told_in_order() {
    let feed = Fake::new();
    let start = feed.write(|history| history.add(&["before"]));
    let mut running = follow(&feed);
    // What was before the start is not told: the sink is empty and derives from the present.
    assert_eq!(running.until(start).await, [Told::Forget, Told::Reached(start)]);
    for name in ["a", "b", "c"] {
        let position = feed.write(|history| history.add(&[name]));
        assert_eq!(running.until(position).await, [Told::Changed(change(name)), Told::Reached(position)]);
    }
}

#[tokio::test]
async fn a_sink_that_was_kept_goes_on_where_it_was() {
    let feed = Fake::new();
    let kept = feed.write(|history| history.add(&["a"]));
    let now = feed.write(|history| history.add(&["b"]));
    let (sender, mut told) = mpsc::unbounded_channel();
    let follower = Follower::resuming(feed.clone(), Recorder(sender), kept);
    let task = tokio::spawn(follower.run(std::future::pending()));
    assert_eq!(told.recv().await, Some(Told::Changed(change("b"))));
    assert_eq!(told.recv().await, Some(Told::Reached(now)));
    task.abort();
}

#[tokio::test]
async fn a_burst_larger_than_a_batch_is_told_whole() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    running.until(Position { epoch: Epoch(1), seq: 0 }).await;
    let expected: Vec<String> =
        (0..5 * limits::FOLLOW_BATCH_MAX).map(|number| format!("d{number}")).collect();
    let position = feed.write(|history| expected.iter().for_each(|name| history.add(&[name])));
    let told = running.until(position).await;
    // A batch that is full is read again from its last seq, so its end may be told twice.
    let mut unique = names(&told);
    unique.dedup();
    assert_eq!(unique, expected);
    assert!(!told.contains(&Told::Forget));
}

#[tokio::test]
async fn changes_made_together_count_only_when_all_are_told() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    running.until(Position { epoch: Epoch(1), seq: 0 }).await;
    let expected: BTreeSet<String> =
        (0..3 * limits::FOLLOW_BATCH_MAX).map(|number| format!("d{number}")).collect();
    let together: Vec<&str> = expected.iter().map(String::as_str).collect();
    let position = feed.write(|history| {
        history.add(&["first"]);
        history.add(&together);
    });
    let told = running.until(position).await;
    let at_once: BTreeSet<String> = names(&told).into_iter().filter(|name| name != "first").collect();
    assert_eq!(at_once, expected);
    let reached = told.iter().filter(|told| matches!(told, Told::Reached(_))).count();
    assert!(reached <= 2, "the group was counted in parts: {reached}");
}

#[tokio::test]
async fn a_gap_makes_the_sink_forget() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    running.until(Position { epoch: Epoch(1), seq: 0 }).await;
    let position = feed.write(|history| {
        history.add(&["lost"]);
        history.add(&["lost-too"]);
        history.trimmed_to = history.position.seq;
    });
    assert_eq!(running.until(position).await, [Told::Forget, Told::Reached(position)]);
    let position = feed.write(|history| history.add(&["next"]));
    assert_eq!(running.until(position).await, [Told::Changed(change("next")), Told::Reached(position)]);
}

#[tokio::test]
async fn another_epoch_makes_the_sink_forget() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    let start = feed.write(|history| history.add(&["a"]));
    running.until(start).await;
    // The new history is shorter than the old one was, or as long: seqs of different epochs say nothing.
    for seq in [0, 1, 7] {
        let position = feed.write(|history| {
            history.position = Position { epoch: Epoch(100 + u128::from(seq)), seq };
            history.changes.clear();
        });
        assert_eq!(running.until(position).await, [Told::Forget, Told::Reached(position)]);
    }
}

#[tokio::test]
async fn an_epoch_that_ends_during_a_read_is_noticed() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    running.until(Position { epoch: Epoch(1), seq: 0 }).await;
    let other = Position { epoch: Epoch(2), seq: 1 };
    feed.write(|history| {
        history.add(&["a"]);
        history.before_read = Some(Box::new(move |history| history.position = other));
    });
    let told = running.until(other).await;
    assert_eq!(told.iter().filter(|told| **told == Told::Forget).count(), 2, "{told:?}");
}

#[tokio::test]
async fn history_that_goes_back_makes_the_sink_forget() {
    let feed = Fake::new();
    let start = feed.write(|history| ["a", "b", "c"].iter().for_each(|name| history.add(&[name])));
    let mut running = follow(&feed);
    running.until(start).await;
    let position = feed.write(|history| history.position.seq = 1);
    assert_eq!(running.until(position).await, [Told::Forget, Told::Reached(position)]);
}

#[tokio::test]
async fn a_feed_that_fails_is_asked_again_and_the_sink_forgets() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    running.until(Position { epoch: Epoch(1), seq: 0 }).await;
    let position = feed.write(|history| {
        history.failures_left = 3;
        history.add(&["a"]);
    });
    let told = running.until(position).await;
    assert_eq!(told[..3], [Told::Forget, Told::Forget, Told::Forget]);
    assert_eq!(told[3..], [Told::Forget, Told::Reached(position)]);
}

#[tokio::test]
async fn shutdown_ends_it_while_it_waits() {
    let feed = Fake::new();
    let mut running = follow(&feed);
    running.until(Position { epoch: Epoch(1), seq: 0 }).await;
    running.stop.take().unwrap().send(()).unwrap();
    running.task.await.unwrap();
    assert_eq!(running.told.recv().await, None);
}

#[tokio::test]
async fn shutdown_ends_it_while_the_feed_fails() {
    let feed = Fake::new();
    feed.write(|history| history.failures_left = usize::MAX);
    let mut running = follow(&feed);
    assert_eq!(running.told.recv().await, Some(Told::Forget));
    running.stop.take().unwrap().send(()).unwrap();
    running.task.await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_feed_ends_it() {
    struct Ended(Arc<Fake>);
    #[async_trait]
    impl ChangeFeed for Ended {
        async fn position(&self) -> Result<Position, FeedError> {
            self.0.position().await
        }
        async fn changes_after(&self, after: Position, limit: usize) -> Result<Changes, FeedError> {
            self.0.changes_after(after, limit).await
        }
        fn watch(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
    }
    let (sender, mut told) = mpsc::unbounded_channel();
    let follower = Follower::new(Arc::new(Ended(Fake::new())), Recorder(sender));
    let ended = tokio::time::timeout(Duration::from_secs(30), follower.run(std::future::pending()));
    drop(ended.await.unwrap());
    assert_eq!(told.recv().await, Some(Told::Forget));
}
