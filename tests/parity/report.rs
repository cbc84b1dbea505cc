//! The table per family and the list of differences.

use std::collections::BTreeMap;
use std::fmt;

use crate::case::Case;
use crate::known::KnownFailures;

/// What came out of the run.
#[derive(Default)]
pub struct Report {
    families: BTreeMap<String, Family>,
    differences: BTreeMap<String, Vec<String>>,
    unlisted: Vec<String>,
    listed_successes: Vec<String>,
    run: Vec<String>,
}

#[derive(Default)]
struct Family {
    passed: usize,
    total: usize,
}

impl Report {
    /// Adds the outcome of a case.
    pub fn add(&mut self, case: &Case, differences: Vec<String>, known: &KnownFailures) {
        let family = self.families.entry(case.family().to_owned()).or_default();
        family.total += 1;
        self.run.push(case.name.clone());
        match (differences.is_empty(), known.lists(case)) {
            (true, listed) => {
                family.passed += 1;
                if listed {
                    self.listed_successes.push(format!("{} passes: take it off the list", case.name));
                }
            }
            (false, false) => self.unlisted.push(format!("{} fails", case.name)),
            (false, true) => {}
        }
        if !differences.is_empty() {
            self.differences.insert(case.name.clone(), differences);
        }
    }

    /// The share of all cases that passed.
    pub fn pass_rate(&self) -> f64 {
        let (passed, total) = self.counts();
        passed as f64 / total.max(1) as f64
    }

    fn counts(&self) -> (usize, usize) {
        let sum = |count: fn(&Family) -> usize| self.families.values().map(count).sum();
        (sum(|family| family.passed), sum(|family| family.total))
    }

    /// Where the list of known failures is wrong.
    pub fn surprises(&self, known: &KnownFailures) -> Vec<String> {
        let unknown = known.case_names().filter(|name| !self.run.iter().any(|case| case == name));
        let unknown = unknown.map(|name| format!("{name} is listed but there is no such case"));
        self.unlisted.iter().cloned().chain(self.listed_successes.iter().cloned()).chain(unknown).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (case, differences) in &self.differences {
            writeln!(f, "{case}")?;
            for difference in differences {
                writeln!(f, "    {}", difference.replace('\n', "\n    "))?;
            }
        }
        writeln!(f, "{:<16} {:>6} {:>6}", "family", "passed", "cases")?;
        for (name, family) in &self.families {
            writeln!(f, "{name:<16} {:>6} {:>6}", family.passed, family.total)?;
        }
        let (passed, total) = self.counts();
        write!(f, "{:<16} {passed:>6} {total:>6}  {:.1} %", "all", self.pass_rate() * 100.0)
    }
}
