//! Bugs that are planted into the protocol; each must be found within the seeds of CI. In how many seeds of the first
//! `N` each is found: `OUTPOST_SIM_COUNT=N cargo test -p outpost-sim --test mutations -- --nocapture`.

use outpost_sim::{SEEDS, run};
use outpost_sync::mutation::{Mutation, plant};

fn assert_is_found(mutation: Mutation) {
    plant(Some(mutation));
    let count: Option<u64> = std::env::var("OUTPOST_SIM_COUNT").ok().and_then(|text| text.parse().ok());
    let mut found = (0..count.unwrap_or(SEEDS)).filter_map(|seed| {
        let violation = run(seed, false).violations.into_iter().next()?;
        Some((seed, violation))
    });
    let first = found.next();
    if let (Some(count), Some((seed, violation))) = (count, &first) {
        eprintln!("{mutation:?}: found in {} of {count} seeds, first {seed}: {violation}", 1 + found.count());
    }
    plant(None);
    assert!(first.is_some(), "no seed of {SEEDS} finds {mutation:?}");
}

macro_rules! found {
    ($($name:ident $mutation:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                assert_is_found(Mutation::$mutation);
            }
        )+
    };
}

found! {
    a_tail_that_skips_deletions_is_found TailSkipsDeletions,
    a_batch_with_records_from_later_is_found BatchIsNotExact,
    a_position_that_is_reached_before_its_records_is_found ReachedComesEarly,
    an_age_that_counts_from_the_answer_is_found AgeCountsFromTheAnswer,
    an_age_of_what_readers_see_for_what_is_on_disk_is_found AgeOfWhatReadersSee,
    following_a_history_that_was_left_is_found FollowsAHistoryThatWasLeft,
    a_gone_item_that_deletes_its_replacement_is_found GoneDeletesWhatWasReplaced,
    a_gap_that_is_ignored_is_found GapIsIgnored,
    a_token_of_an_unknown_history_that_counts_as_covered_is_found ForeignTokenIsCovered,
    following_a_node_adrift_is_found FollowsANodeAdrift,
    a_fill_that_drops_a_record_is_found FillDropsARecord,
    a_damaged_record_that_is_told_as_gone_is_found DamagedIsGone,
    a_fill_that_sends_what_the_follower_has_is_found FillSendsWhatIsKnown,
    a_comparison_that_tells_what_agrees_is_found CompareTellsWhatAgrees,
    a_relay_that_forgets_the_id_is_found RelayForgetsTheId,
    a_relay_that_keeps_no_order_is_found RelayKeepsNoOrder,
}
