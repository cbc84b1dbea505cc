use std::collections::VecDeque;

use futures::{StreamExt, stream};

use super::*;
use crate::call::ByteStream;
use crate::frame;

struct Memory {
    queued: Mutex<Vec<Queued>>,
    news: watch::Sender<u64>,
}

impl Memory {
    fn new(about: &[&str]) -> Arc<Self> {
        let queued = about.iter().enumerate().map(|(number, dataset)| Queued {
            number: number as u64,
            id: number as u128 + 100,
            datasets: vec![DatasetName::new(dataset).unwrap()],
            body: Bytes::from_static(b"{}"),
        });
        Arc::new(Self { queued: Mutex::new(queued.collect()), news: watch::Sender::new(0) })
    }
}

#[async_trait]
impl Outbox for Memory {
    async fn oldest(&self, after: Option<u64>, limit: usize) -> Result<Vec<Queued>, StoreError> {
        let queued = self.queued.lock().unwrap();
        Ok(queued
            .iter()
            .filter(|q| after.is_none_or(|after| q.number > after))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn remove(&self, number: u64) -> Result<(), StoreError> {
        self.queued.lock().unwrap().retain(|queued| queued.number != number);
        Ok(())
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}

/// Answers as it was told, by id; tells the ids in the order in which they came.
struct Primary {
    answers: Mutex<HashMap<u128, VecDeque<Result<Taken, CallError>>>>,
    came: Mutex<Vec<u128>>,
}

impl Primary {
    fn new(answers: &[(u128, &[Result<Taken, CallError>])]) -> Arc<Self> {
        let answers = answers.iter().map(|(id, answers)| (*id, answers.iter().cloned().collect())).collect();
        Arc::new(Self { answers: Mutex::new(answers), came: Mutex::default() })
    }
}

#[async_trait]
impl Upstream for Primary {
    fn name(&self) -> &str {
        "primary"
    }

    async fn call(&self, _: Call, request: Message) -> Result<ByteStream, CallError> {
        let Message::Relay(relay) = request else { panic!("{request:?}") };
        self.came.lock().unwrap().push(relay.id);
        let next = self.answers.lock().unwrap().get_mut(&relay.id).and_then(VecDeque::pop_front);
        let taken = next.unwrap_or(Ok(Taken::Ignored))?;
        Ok(stream::iter([Ok(frame::encode(&taken.into()))]).boxed())
    }
}

async fn run_until_empty(outbox: &Arc<Memory>, primary: &Arc<Primary>) -> Arc<RelayCounts> {
    let counts = Arc::new(RelayCounts::default());
    let relay = Relay::new(outbox.clone(), vec![primary.clone()], counts.clone());
    let is_empty = async {
        while !outbox.queued.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = relay.run() => panic!("the relay ended"),
        done = tokio::time::timeout(Duration::from_secs(3_600), is_empty) => done.unwrap(),
    }
    counts
}

fn lost() -> Result<Taken, CallError> {
    Err(CallError::Lost("away".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_sent_again_with_its_id_and_holds_up_only_its_own_dataset() {
    let outbox = Memory::new(&["u/a", "u/a", "u/b"]);
    let later = Ok(Taken::Later("the Hub is away".to_owned()));
    let primary = Primary::new(&[(100, &[lost(), later, Ok(Taken::Applied(1, 5))])]);
    let counts = run_until_empty(&outbox, &primary).await;
    assert_eq!(*primary.came.lock().unwrap(), [100, 102, 100, 100, 101]);
    assert_eq!(counts.taken.load(Ordering::Relaxed), 3);
    assert_eq!(counts.failures.load(Ordering::Relaxed), 2);
    assert_eq!(counts.last_failure().as_deref(), Some("the Hub is away"));
}

#[tokio::test(start_paused = true)]
async fn what_will_never_be_taken_is_dropped_and_counted() {
    let outbox = Memory::new(&["u/a", "u/a"]);
    let primary = Primary::new(&[(100, &[Ok(Taken::Refused("no such event".to_owned()))])]);
    let counts = run_until_empty(&outbox, &primary).await;
    assert_eq!(counts.refused.load(Ordering::Relaxed), 1);
    assert_eq!(counts.taken.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn paused_webhooks_do_not_keep_later_ones_from_being_found() {
    let names: Vec<String> = (0..300).map(|number| format!("u/d{number}")).collect();
    let outbox = Memory::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let stuck: Vec<_> = (0..200).map(|number| (100 + number, [lost()])).collect();
    let stuck: Vec<_> = stuck.iter().map(|(id, answers)| (*id, &answers[..])).collect();
    let primary = Primary::new(&stuck);
    let counts = run_until_empty(&outbox, &primary).await;
    assert_eq!(counts.taken.load(Ordering::Relaxed), 300);
    let came = primary.came.lock().unwrap();
    assert!(came[..300].contains(&399), "the last one waits for none before it");
}

fn relay(hops: u8) -> wire::Relay {
    wire::Relay { id: 100, body: b"{}".to_vec(), hops }
}

#[tokio::test]
async fn an_upstream_that_cannot_take_it_now_leaves_it_to_the_next() {
    let away = Primary::new(&[(100, &[Ok(Taken::Later("no way".to_owned()))])]);
    let primary = Primary::new(&[(100, &[Ok(Taken::Applied(1, 5))])]);
    let passing = Passing::new(vec![away.clone(), primary]);
    assert_eq!(passing.pass(relay(1)).await, Taken::Applied(1, 5));
    assert_eq!(*away.came.lock().unwrap(), [100]);
}

/// Passes on to what is set later, so that nodes can stand in a circle.
#[derive(Default)]
struct Neighbour(std::sync::OnceLock<Arc<Passing>>);

#[async_trait]
impl Upstream for Neighbour {
    fn name(&self) -> &str {
        "neighbour"
    }

    async fn call(&self, _: Call, request: Message) -> Result<ByteStream, CallError> {
        let Message::Relay(relay) = request else { panic!("{request:?}") };
        let taken = self.0.get().unwrap().pass(relay).await;
        Ok(stream::iter([Ok(frame::encode(&taken.into()))]).boxed())
    }
}

#[tokio::test]
async fn a_webhook_leaves_a_circle_of_nodes_that_prefer_each_other() {
    let primary = Primary::new(&[(100, &[Ok(Taken::Applied(1, 5))])]);
    let (one, other) = (Arc::new(Neighbour::default()), Arc::new(Neighbour::default()));
    let first = Arc::new(Passing::new(vec![other.clone()]));
    one.0.set(Arc::clone(&first)).ok().unwrap();
    other.0.set(Arc::new(Passing::new(vec![one, primary.clone()]))).ok().unwrap();
    assert_eq!(first.pass(relay(0)).await, Taken::Applied(1, 5));
    assert_eq!(*primary.came.lock().unwrap(), [100]);
}
