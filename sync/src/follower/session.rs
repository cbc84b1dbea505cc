//! A session with one upstream: from the first call to the end of the tail.
//!
//! Owns what is checked of each message before it counts. Beside the tail it asks for the head once a second, which is
//! what the age is known from, and looks at the preferred upstreams now and then.

use std::sync::Arc;
use std::time::Duration;

use outpost_model::items::SetHash;
use outpost_model::{Position, limits};
use tokio::time::Instant;

use super::gather::Gather;
use super::status::Phase;
use super::{Begin, End, Follower, Past, Resort};
use crate::call::{Answer, Call, CallError, RefusalCode, Upstream, unexpected};
use crate::history::{self, Unfit};
use crate::mutation::{Mutation, is_planted};
use crate::record;
use crate::wire::{self, Message};

impl Follower {
    /// Runs one session.
    pub(super) async fn session(&self, index: usize, begin: Begin, resort: Resort) -> Past {
        self.target.room().await;
        let upstream = Arc::clone(&self.upstreams[index]);
        self.board.change(|status| {
            status.sessions += 1;
            status.upstream = Some(upstream.name().to_owned());
        });
        let opened = tokio::select! {
            biased;
            opened = self.open(&*upstream, begin) => opened,
            () = self.target.full() => Err(End::Full),
        };
        let tail = match opened {
            Ok(tail) => tail,
            Err(end) => return Past { end, is_opened: false, was_told: false },
        };
        if resort == Resort::First && self.board.is_adrift() {
            return Past { end: Unfit::Adrift.into(), is_opened: true, was_told: false };
        }
        self.board.change(|status| status.phase = Phase::Following);
        let began = Instant::now();
        let end = tokio::select! {
            biased;
            end = self.follow(tail) => end,
            end = self.keep_asking(&*upstream) => end,
            end = self.look_for_better(index) => end,
            end = self.watch_damage() => end,
            () = self.target.full() => End::Full,
        };
        let was_told = began.elapsed() > Duration::from_millis(limits::SYNC_SILENCE_MS_MAX);
        Past { end, is_opened: true, was_told }
    }

    /// A tail from where the mirror stands, reconciled if it must be.
    async fn open(&self, upstream: &dyn Upstream, begin: Begin) -> Result<Answer, End> {
        let at = self.target.visible();
        if at.seq == 0 || begin == Begin::Reconcile {
            return self.reconcile(upstream).await;
        }
        let request = wire::Tail { node: self.board.me().0, epoch: at.epoch.0, seq: at.seq };
        match self.open_tail(upstream, request).await {
            Ok((tail, _)) => Ok(tail),
            Err(End::Call(CallError::Refused(refusal)))
                if matches!(refusal.code, RefusalCode::ForeignHistory | RefusalCode::Gap) =>
            {
                tracing::info!(upstream = upstream.name(), cause = %refusal, "reconciling");
                self.reconcile(upstream).await
            }
            Err(end) => Err(end),
        }
    }

    /// Opens a tail and checks its head.
    pub(super) async fn open_tail(
        &self,
        upstream: &dyn Upstream,
        request: wire::Tail,
    ) -> Result<(Answer, wire::Head), End> {
        let mut tail = self.call(upstream, Call::Tail, request).await?;
        let head = self.expect_head(&mut tail).await?;
        Ok((tail, head))
    }

    pub(super) async fn call(
        &self,
        upstream: &dyn Upstream,
        call: Call,
        request: impl Into<Message>,
    ) -> Result<Answer, End> {
        self.board.change(|status| status.round_trips += 1);
        Ok(Answer::of(upstream, call, request.into()).await?)
    }

    /// The head that an answer begins with, of an upstream that may be followed.
    pub(super) async fn expect_head(&self, answer: &mut Answer) -> Result<wire::Head, End> {
        match answer.expect().await? {
            Message::Head(head) => {
                self.check(&head)?;
                self.board.heard(&head);
                Ok(head)
            }
            other => Err(unexpected(&other).into()),
        }
    }

    async fn follow(&self, mut tail: Answer) -> End {
        let (at, left) = self.target.visible_left();
        let mut gather = Gather::new(Arc::clone(&self.target), at.epoch, left);
        loop {
            match self.follow_one(&mut tail, &mut gather).await {
                Ok(true) => {}
                Ok(false) => return End::Ended,
                Err(end) => return end,
            }
        }
    }

    /// Takes one message; false at the end.
    async fn follow_one(&self, tail: &mut Answer, gather: &mut Gather) -> Result<bool, End> {
        let Some(message) = tail.next().await? else { return Ok(false) };
        match message {
            Message::Head(head) => {
                self.check(&head)?;
                self.heard(&head)?;
            }
            Message::Records(records) => gather.add(self.changes_of(records)?).await?,
            Message::Reached(reached) => {
                gather.finish(reached.seq, reached.set_hash.map(SetHash::from_bytes)).await?;
                self.freshness.stands_at(self.target.visible());
                let reached_at = Position { seq: reached.seq, ..self.target.visible() };
                self.prove(reached_at, reached.set_hash)?;
            }
            other => return Err(unexpected(&other).into()),
        }
        Ok(true)
    }

    pub(super) fn changes_of(&self, records: wire::Records) -> Result<Vec<record::Change>, End> {
        let changes = record::changes_of(records).map_err(|error| CallError::Nonsense(error.to_string()))?;
        let bytes: usize = changes.iter().map(record::Change::bytes).sum();
        self.board.change(|status| {
            status.received_records += changes.len() as u64;
            status.received_bytes += bytes as u64;
        });
        Ok(changes)
    }

    /// Takes note of where the upstream stands; at the same position both must be the same.
    fn heard(&self, head: &wire::Head) -> Result<(), End> {
        // The answer to a question may be older than what the tail brought meanwhile: its seq says nothing here.
        history::check_way(self.board.me(), head)?;
        self.board.heard(head);
        let theirs = record::position((head.epoch, head.seq));
        if theirs.epoch != self.target.visible().epoch {
            return Err(End::Ended);
        }
        self.prove(theirs, head.set_hash)
    }

    /// At the position of the upstream's set hash the mirror's must be the same.
    fn prove(&self, at: Position, theirs: Option<[u8; 32]>) -> Result<(), End> {
        let (position, mine) = self.target.visible_hash();
        if position == at && theirs.is_some_and(|theirs| theirs != mine.to_bytes()) {
            self.board.change(|status| status.differences += 1);
            return Err(End::Differs);
        }
        Ok(())
    }

    /// Asks for the head once a second. An answer that fails leaves the age growing; the tail decides on the session.
    async fn keep_asking(&self, upstream: &dyn Upstream) -> End {
        loop {
            let asked = self.freshness.moment();
            if let Ok(head) = self.ask(upstream).await {
                if let Err(end) = self.heard(&head) {
                    return end;
                }
                let is_late = is_planted(Mutation::AgeCountsFromTheAnswer);
                let asked = if is_late { self.freshness.moment() } else { asked };
                if let Some(age_ms) = head.age_ms {
                    let position = record::position((head.epoch, head.seq));
                    let age = Duration::from_millis(age_ms);
                    self.freshness.told(asked, position, age, self.target.visible());
                }
            }
            tokio::time::sleep(Duration::from_millis(limits::SYNC_HEARTBEAT_MS)).await;
        }
    }

    async fn ask(&self, upstream: &dyn Upstream) -> Result<wire::Head, CallError> {
        let request = wire::Compare { node: self.board.me().0, ranges: Vec::new() };
        let mut answer = Answer::of(upstream, Call::Head, request.into()).await?;
        match answer.expect().await? {
            Message::Head(head) => Ok(head),
            other => Err(unexpected(&other)),
        }
    }

    /// Returns when an upstream before `index` can be followed, or any other while this one is adrift.
    async fn look_for_better(&self, index: usize) -> End {
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_millis(limits::SYNC_SILENCE_MS_MAX)).await;
            let is_adrift = self.board.is_adrift();
            if !is_adrift && looked.elapsed() < Duration::from_millis(limits::SYNC_RETURN_MS) {
                continue;
            }
            looked = Instant::now();
            let is_candidate = |other: usize| other < index || (is_adrift && other > index);
            for (_, upstream) in self.upstreams.iter().enumerate().filter(|(other, _)| is_candidate(*other)) {
                if let Ok(head) = self.ask(&**upstream).await
                    && self.check(&head).is_ok()
                    && !history::is_adrift(&head)
                {
                    return End::Return;
                }
            }
        }
    }

    async fn watch_damage(&self) -> End {
        loop {
            if !self.target.damaged(1).is_empty() {
                return End::Damaged;
            }
            self.target.damage_news().await;
        }
    }
}
