use super::*;

const LEFT: Epoch = Epoch(1);
const MINE: Epoch = Epoch(2);
const NEXT: Epoch = Epoch(3);

fn at(epoch: Epoch, seq: u64) -> Position {
    Position { epoch, seq }
}

fn here(role: Role, seq: u64, age_ms: Option<u64>) -> Here<'static> {
    Here { role, position: at(MINE, seq), left: &[LEFT], age: age_ms.map(Duration::from_millis) }
}

fn after(epoch: Epoch, seq: u64) -> Demand {
    Demand { after: Some(at(epoch, seq)), age_max: None }
}

fn younger(ms: u64) -> Demand {
    Demand { after: None, age_max: Some(Duration::from_millis(ms)) }
}

/// What is decided in turn until the end.
fn course(demand: &Demand, here: &Here<'_>) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for tried in [Tried::Nothing, Tried::Waited, Tried::Asked] {
        let decision = decide(demand, here, tried);
        if decisions.last() != Some(&decision) {
            decisions.push(decision);
        }
        if matches!(decision, Decision::Serve | Decision::Refuse) {
            break;
        }
    }
    decisions
}

#[test]
fn a_request_without_demands_is_served_from_whatever_there_is() {
    for role in [Role::Origin, Role::Sharing, Role::Replica] {
        for seq in [0, 7] {
            assert_eq!(course(&Demand::default(), &here(role, seq, None)), [Decision::Serve]);
        }
    }
}

#[test]
fn within_a_history_the_seq_decides() {
    let replica = here(Role::Replica, 7, Some(0));
    assert_eq!(course(&after(MINE, 7), &replica), [Decision::Serve]);
    let steps = [Decision::Wait, Decision::AskUpstream, Decision::Refuse];
    assert_eq!(course(&after(MINE, 8), &replica), steps);
    let origin = here(Role::Origin, 7, Some(0));
    assert_eq!(course(&after(MINE, 8), &origin), [Decision::Wait, Decision::Refuse]);
}

#[test]
fn a_history_that_was_left_is_covered_and_an_unknown_one_is_not() {
    let replica = here(Role::Replica, 7, Some(0));
    assert_eq!(course(&after(LEFT, u64::MAX), &replica), [Decision::Serve]);
    let steps = [Decision::Wait, Decision::AskUpstream, Decision::Refuse];
    assert_eq!(course(&after(NEXT, 1), &replica), steps);
}

#[test]
fn only_the_origin_knows_that_an_unknown_history_ended_before_its_own() {
    assert_eq!(course(&after(NEXT, 1), &here(Role::Origin, 7, Some(0))), [Decision::Serve]);
    let steps = [Decision::Wait, Decision::Refuse];
    assert_eq!(course(&after(NEXT, 1), &here(Role::Sharing, 7, Some(0))), steps);
}

#[test]
fn an_unfilled_mirror_covers_nothing_and_asks_at_once() {
    let steps = [Decision::AskUpstream, Decision::Refuse];
    for demand in [after(MINE, 0), after(LEFT, 1), younger(10)] {
        assert_eq!(course(&demand, &here(Role::Replica, 0, None)), steps);
    }
}

#[test]
fn age_is_demanded_by_the_same_steps_and_unknown_is_too_old() {
    assert_eq!(course(&younger(500), &here(Role::Replica, 7, Some(500))), [Decision::Serve]);
    let steps = [Decision::Wait, Decision::AskUpstream, Decision::Refuse];
    assert_eq!(course(&younger(500), &here(Role::Replica, 7, Some(501))), steps);
    assert_eq!(course(&younger(500), &here(Role::Replica, 7, None)), steps);
}

#[test]
fn both_demands_must_be_met() {
    let both = Demand { after: Some(at(MINE, 7)), age_max: Some(Duration::from_millis(10)) };
    assert_eq!(decide(&both, &here(Role::Replica, 7, Some(10)), Tried::Nothing), Decision::Serve);
    assert_eq!(decide(&both, &here(Role::Replica, 6, Some(10)), Tried::Asked), Decision::Refuse);
    assert_eq!(decide(&both, &here(Role::Replica, 7, Some(11)), Tried::Asked), Decision::Refuse);
}
