//! What befalls a cluster.
//!
//! Owns the kinds of faults; when they come is the course's.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Cluster;
use crate::node::Node;
use crate::state::Damage;
use crate::store::CrashPoint;

impl Cluster {
    pub(super) fn strike(&mut self) {
        let one = self.random.usize(..self.count);
        let other = self.random.usize(..self.count);
        let network = Arc::clone(&self.network);
        let what = self.random.u8(..18);
        self.truth.note(&format!("fault {what} at {one}, {other}"));
        match what {
            0 => network.change(one, other, |link| link.is_silent = true),
            1 => network.change(one, other, |link| link.is_refused = true),
            2 => network.change(one, other, |link| link.cuts += 1),
            3 => network.change(one, other, |link| link.garbles_one_in = 20),
            4 => network.change(one, other, |link| link.delay_ms_max = 400),
            5 => network.change(one, other, |link| link.bytes_per_ms = 5),
            6 => network.heal(),
            7 => self.crash(one, 3_000),
            8 | 9 => {
                let point = CrashPoint::ALL[self.random.usize(..CrashPoint::ALL.len())];
                let running = self.with(one, |node, _| node.running());
                if let Some(running) = running {
                    running.store.arm(point);
                }
            }
            10 => {
                let ms = self.random.i64(-100_000..100_000);
                self.with(one, |node, _| node.wall.jump(ms));
            }
            11 => {
                for number in (0..self.count).filter(|number| *number != one) {
                    network.change(one, number, |link| link.is_silent = true);
                    network.change(number, one, |link| link.is_silent = true);
                }
            }
            12 => {
                let primary = self.random.usize(..self.primaries);
                self.crash(primary, 8_000);
            }
            13 | 14 => self.damage(one),
            15 => self.damage_all_but_origin(),
            16 => self.scrub(),
            _ => self.cut_from_database(),
        }
    }

    /// Some records of a replica cannot be read any more.
    fn damage(&mut self, number: usize) {
        let Some(running) = self.with(number, |node, _| node.running()).filter(|_| number >= self.primaries)
        else {
            return;
        };
        for _ in 0..self.random.usize(1..4) {
            // What changed last is what followers are told of next.
            let last =
                running.store.on_disk(|state| state.log().last().cloned()).filter(|_| self.random.bool());
            let any = || self.content.lock().unwrap_or_else(PoisonError::into_inner).subject();
            let subject = last.unwrap_or_else(any);
            let damage = if self.random.bool() { Damage::Head } else { Damage::Body };
            if running.store.damage(&subject, damage) {
                self.truth.note(&format!("node {number} has a record with a damaged {damage:?}"));
            }
        }
    }

    /// The same at each replica, and another one cannot help.
    fn damage_all_but_origin(&mut self) {
        (self.primaries..self.count).for_each(|number| self.damage(number));
    }

    /// All nodes look for damage.
    pub(super) fn scrub(&self) {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter_map(Node::running).for_each(|running| running.store.scrub());
    }

    /// A primary cannot reach the database that it shares, or can again.
    fn cut_from_database(&mut self) {
        let number = self.random.usize(..self.primaries);
        let is_cut = self.random.u8(..3) > 0;
        self.with(number, |node, _| node.is_cut.store(is_cut, Ordering::SeqCst));
    }
}
