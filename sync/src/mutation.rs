//! Bugs that can be planted, to prove that the simulation finds them.
//!
//! Owns their names. Without the feature `mutations` none can be planted and the questions cost nothing; the plant is
//! the thread's, so that tests beside each other do not meet.

/// Whether bugs can be planted in this build.
#[doc(hidden)]
pub const CAN_BE_PLANTED: bool = cfg!(feature = "mutations");

/// A bug, at the one line that asks for it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Mutation {
    TailSkipsDeletions,
    BatchIsNotExact,
    ReachedComesEarly,
    AgeCountsFromTheAnswer,
    AgeOfWhatReadersSee,
    FollowsAHistoryThatWasLeft,
    GoneDeletesWhatWasReplaced,
    GapIsIgnored,
    ForeignTokenIsCovered,
    FollowsANodeAdrift,
    FillDropsARecord,
    DamagedIsGone,
    FillSendsWhatIsKnown,
    CompareTellsWhatAgrees,
    RelayForgetsTheId,
    RelayKeepsNoOrder,
}

#[cfg(feature = "mutations")]
mod planted {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static PLANTED: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    /// Plants a bug on this thread, or none.
    pub fn plant(mutation: Option<Mutation>) {
        PLANTED.set(mutation);
    }

    pub(crate) fn is_planted(mutation: Mutation) -> bool {
        PLANTED.get() == Some(mutation)
    }
}

#[cfg(feature = "mutations")]
pub(crate) use planted::is_planted;
#[cfg(feature = "mutations")]
pub use planted::plant;

#[cfg(not(feature = "mutations"))]
pub(crate) const fn is_planted(_: Mutation) -> bool {
    false
}
