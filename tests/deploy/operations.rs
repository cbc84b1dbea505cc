//! docs/OPERATIONS.md next to the program and the rehearsal that it speaks of.

use std::collections::BTreeSet;

use regex::Regex;

use crate::options::option_of;
use crate::read;

fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_section_is_rehearsed_and_every_scenario_has_a_section() {
    let guide = read("docs/OPERATIONS.md");
    let sections = guide.matches("\n## ").count();
    let rehearsed = found(r"(?m)^\*Rehearsed by `(\w+)`", &guide);
    assert_eq!(rehearsed.len(), sections);
    let script = read("deploy/rehearsal/__main__.py");
    let listed = script.split_once("SCENARIOS = [").unwrap().1.split_once(']').unwrap().0;
    assert_eq!(rehearsed, found(r"(\w+)", listed));
}

#[test]
fn every_variable_of_the_guide_is_an_option_of_the_node() {
    let variables = found(r"\b(OUTPOST_[A-Z_]+)\b", &read("docs/OPERATIONS.md"));
    assert!(variables.len() > 5, "{variables:?}");
    for variable in variables {
        assert!(option_of(&variable).is_some(), "{variable}");
    }
}
