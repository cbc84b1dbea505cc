//! Which histories a store has left.
//!
//! Owns the list: newest last, each once, never the current one, at most [`limits::SYNC_HISTORIES_MAX`]. A node that
//! stands in one of them may go on in the current one; a node whose history is not known here is refused.

use outpost_model::limits;

/// Takes note that a store left `old` for `current`.
pub(crate) fn leave(left: &mut Vec<u128>, old: u128, current: u128) {
    left.retain(|epoch| *epoch != old);
    left.push(old);
    settle(left, current);
}

/// Takes over what a source has left. Its list says what came before the current history, so it counts as the newer.
pub(crate) fn take_over(left: &mut Vec<u128>, source: impl IntoIterator<Item = u128>, current: u128) {
    for epoch in source {
        left.retain(|known| *known != epoch);
        left.push(epoch);
    }
    settle(left, current);
}

fn settle(left: &mut Vec<u128>, current: u128) {
    left.retain(|epoch| *epoch != current);
    let surplus = left.len().saturating_sub(limits::SYNC_HISTORIES_MAX);
    left.drain(..surplus);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_history_is_listed_once_the_newest_last_and_never_the_current() {
        let mut left = Vec::new();
        leave(&mut left, 1, 2);
        leave(&mut left, 2, 3);
        assert_eq!(left, [1, 2]);
        take_over(&mut left, [7, 2, 3], 3);
        assert_eq!(left, [1, 7, 2]);
        leave(&mut left, 3, 1);
        assert_eq!(left, [7, 2, 3]);
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut left = Vec::new();
        let last = limits::SYNC_HISTORIES_MAX as u128 + 10;
        (0..last).for_each(|epoch| leave(&mut left, epoch, epoch + 1));
        assert_eq!(left, (10..last).collect::<Vec<_>>());
        take_over(&mut left, last + 1..last + 3, last);
        assert_eq!(left, (12..last).chain(last + 1..last + 3).collect::<Vec<_>>());
    }
}
