//! Clients that read at any node and carry what they were told.
//!
//! Owns the reader's side of the promises (PROTOCOL.md section 8): every answer is checked against the truth.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use outpost_model::Position;
use outpost_model::items::Changed;
use outpost_sync::promise::{Decision, Demand, Here, Tried, decide};
use tokio::time::Instant;

use crate::network::Network;
use crate::node::Running;
use crate::state::{Found, State, content_of, key_of};
use crate::truth::{Told, Truth};

/// How long a node waits for a reader.
const WAIT: Duration = Duration::from_millis(300);
/// How long a node waits for its upstream.
const LOOKUP: Duration = Duration::from_secs(2);
const HOPS_MAX: usize = 8;

/// Where nodes are found.
pub type Nodes = Arc<dyn Fn(usize) -> Option<Running> + Send + Sync>;

/// What a node answered.
#[derive(Clone)]
struct Answer {
    by: usize,
    content: Option<u128>,
    from: Position,
    position: Position,
    age: Option<Duration>,
}

/// What readers work with.
#[derive(Clone)]
pub struct World {
    /// Nodes that run.
    pub nodes: Nodes,
    /// What is between them.
    pub network: Arc<Network>,
    /// What checks.
    pub truth: Arc<Truth>,
    /// How many there are.
    pub count: usize,
}

/// What a record holds, with the position; an error when it cannot be read.
fn look(state: &State, subject: &Changed) -> (Position, Result<Option<u128>, ()>) {
    let key = key_of(subject);
    let content = match state.read(&key) {
        Found::Absent => Ok(None),
        Found::Whole(record) => Ok(Some(content_of(&key, record))),
        Found::Damaged => Err(()),
    };
    (state.position, content)
}

impl World {
    fn ask(
        &self,
        node: usize,
        subject: Changed,
        demand: Demand,
        hops: usize,
    ) -> BoxFuture<'static, Option<Answer>> {
        let world = self.clone();
        async move {
            let running = (world.nodes)(node)?;
            let began = Instant::now();
            let mut tried = Tried::Nothing;
            loop {
                let (from, left) = running.store.seen(|state| (state.position, state.left.clone()));
                let here = Here { role: running.role, position: from, left: &left, age: running.age() };
                match decide(&demand, &here, tried) {
                    Decision::Serve => {
                        tokio::task::yield_now().await;
                        let (position, content) = running.store.seen(|state| look(state, &subject));
                        // A node that crashed meanwhile answers nobody.
                        (world.nodes)(node).filter(|now| Arc::ptr_eq(&now.store, &running.store))?;
                        let Ok(content) = content else {
                            // What cannot be read is asked for where it can, as it is here or later.
                            running.store.met_damage(&subject);
                            let demand = Demand { after: Some(position), ..demand };
                            let asking = world.ask_upstream(&running, &subject, demand, hops);
                            return tokio::time::timeout(LOOKUP, asking).await.ok().flatten();
                        };
                        return Some(Answer { by: node, content, from, position, age: running.age() });
                    }
                    Decision::Wait if began.elapsed() >= WAIT => tried = Tried::Waited,
                    Decision::Wait => tokio::time::sleep(Duration::from_millis(20)).await,
                    Decision::AskUpstream => {
                        let asking = world.ask_upstream(&running, &subject, demand, hops);
                        if let Ok(Some(answer)) = tokio::time::timeout(LOOKUP, asking).await {
                            return Some(answer);
                        }
                        tried = Tried::Asked;
                    }
                    Decision::Refuse => return None,
                }
            }
        }
        .boxed()
    }

    async fn ask_upstream(
        &self,
        running: &Running,
        subject: &Changed,
        demand: Demand,
        hops: usize,
    ) -> Option<Answer> {
        if hops == HOPS_MAX {
            return None;
        }
        for upstream in &running.upstreams {
            let asked = Instant::now();
            if self.network.pass(running.node, *upstream, 100).await.is_err() {
                continue;
            }
            let Some(answer) = self.ask(*upstream, subject.clone(), demand, hops + 1).await else { continue };
            if self.network.pass(*upstream, running.node, 1_000).await.is_ok() {
                return Some(Answer { age: answer.age.map(|age| age + asked.elapsed()), ..answer });
            }
        }
        None
    }

    /// Reads for ever, with a token from its first answer on.
    pub async fn read(self, client: usize, subjects: Vec<Changed>, mut random: fastrand::Rng) {
        let mut token: Option<Position> = None;
        loop {
            tokio::time::sleep(Duration::from_millis(random.u64(1..400))).await;
            let node = random.usize(..self.count);
            let subject = subjects[random.usize(..subjects.len())].clone();
            let age_max = (random.u8(..4) == 0).then(|| Duration::from_millis(random.u64(..5_000)));
            let demand = Demand { after: token.filter(|_| random.u8(..10) > 0), age_max };
            let asked = Instant::now();
            let Some(answer) = self.ask(node, subject.clone(), demand, 0).await else {
                self.truth.note(&format!("client {client} is refused by node {node}"));
                continue;
            };
            if answer.position.seq == 0 || answer.from.seq == 0 {
                continue;
            }
            self.truth.told(&Told {
                by: format!("node {node}, answered by {}", answer.by),
                key: key_of(&subject),
                content: answer.content,
                from: answer.from,
                position: answer.position,
                after: demand.after,
                age: answer.age,
                // What is asked for is an age when the answer is made.
                age_max: age_max.map(|max| max + asked.elapsed()),
            });
            if demand.after == token {
                token = Some(answer.position);
            }
        }
    }
}
