//! Whole computations: plans applied until nothing is left, in every order that random choices find.

use super::*;

/// A little authority: applies tasks, runs a job at a time.
struct Run {
    random: u64,
    state: DatasetState,
    next_id: u128,
    /// Jobs that are to run once more.
    reruns: Vec<JobId>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self { random: seed, state: DatasetState::default(), next_id: 1, reruns: Vec::new() }
    }

    /// A small generator is enough: it only has to reach many orders.
    fn pick(&mut self, among: usize) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % among
    }

    fn happen(&mut self, event: &Event) {
        for task in plan(&dataset(), &self.state, event) {
            match task {
                Task::SetDataset { revision, .. } => self.state.revision = Some(revision),
                Task::DropDataset => self.state.revision = None,
                Task::DeleteEntry(key) => self.state.entries.retain(|entry| entry.key != key),
                Task::DeleteJob(id) => self.state.jobs.retain(|job| job.id != id),
                Task::Rerun(id) => {
                    assert!(self.state.jobs.iter().any(|job| job.id == id && job.is_started()));
                    self.reruns.push(id);
                }
                Task::CreateJob(new) => {
                    assert!(self.state.jobs.iter().all(|job| job.key != new.key), "{} twice", new.key);
                    let job = Job { revision: new.revision, ..waiting(self.next_id, new.key) };
                    self.next_id += 1;
                    self.state.jobs.push(job);
                }
            }
        }
    }

    /// Starts or ends some job.
    fn advance(&mut self) {
        let index = self.pick(self.state.jobs.len());
        let job = self.state.jobs[index].clone();
        if !job.is_started() {
            self.state.jobs[index] = Job { revision: job.revision, ..started(job.id.0, job.key) };
            return;
        }
        self.state.jobs.remove(index);
        let again = self.reruns.contains(&job.id);
        self.reruns.retain(|id| *id != job.id);
        let result = EntrySummary { revision: job.revision.clone(), ..self.result(&job.key) };
        self.state.entries.retain(|entry| entry.key != job.key);
        self.state.entries.push(result);
        self.happen(&finished(job.key.clone()));
        if again && self.state.jobs.iter().all(|other| other.key != job.key) {
            self.state.jobs.push(Job { revision: job.revision, ..waiting(job.id.0, job.key) });
        }
    }

    fn result(&mut self, key: &ArtifactKey) -> EntrySummary {
        match key.kind() {
            _ if self.pick(8) == 0 => failed(key.clone(), ErrorCode::EmptyDatasetError, 1),
            StepKind::DatasetConfigNames => entry(key.clone(), &["a", "b", "c"]),
            StepKind::ConfigSplitNames => entry(key.clone(), &["train", "test"]),
            _ => entry(key.clone(), &[]),
        }
    }

    fn publish(&mut self, name: &str) {
        self.happen(&Event::Revision {
            revision: revision(name),
            visibility: Visibility::Public,
            priority: Priority::Normal,
            force: false,
        });
    }
}

#[test]
fn every_order_of_ends_computes_everything_for_the_last_revision() {
    for seed in 0..500 {
        let mut run = Run::new(seed);
        run.publish("r1");
        let pushed_after = run.pick(60);
        let mut steps = 0;
        while !run.state.jobs.is_empty() {
            run.advance();
            steps += 1;
            if steps == pushed_after {
                run.publish("r2");
            }
            assert!(steps < 2_000, "seed {seed}: the plans never end");
        }
        let expected = run.state.revision.clone();
        let outdated = run.state.entries.iter().find(|entry| Some(&entry.revision) != expected.as_ref());
        assert_eq!(outdated, None, "seed {seed}");
        let left = plan(&dataset(), &run.state, &Event::Backfill { retry_errors: true });
        assert_eq!(left, [], "seed {seed}: something was not computed");
    }
}

/// A gathering step that started before one of its parents ended must not have the last word.
#[test]
fn a_step_never_ends_older_than_its_parents() {
    for seed in 0..500 {
        let mut run = Run::new(seed);
        run.publish("r1");
        // When each entry was last started to be computed, and when it was stored.
        let mut clock = 0u32;
        let mut starts = Vec::new();
        let mut entries: Vec<(ArtifactKey, u32, u32)> = Vec::new();
        while !run.state.jobs.is_empty() {
            clock += 1;
            let before = run.state.jobs.clone();
            run.advance();
            for job in before {
                let now = run.state.jobs.iter().find(|other| other.id == job.id);
                if !job.is_started() && now.is_some_and(Job::is_started) {
                    starts.retain(|(id, _)| *id != job.id);
                    starts.push((job.id, clock));
                } else if job.is_started() && now.is_none_or(|now| !now.is_started()) {
                    let start = starts.iter().find(|(id, _)| *id == job.id).unwrap().1;
                    entries.retain(|(key, ..)| *key != job.key);
                    entries.push((job.key, start, clock));
                }
            }
        }
        for (key, start, _) in &entries {
            for (parent, _, stored) in &entries {
                let mut coming = Coming::default();
                coming.add(parent);
                let is_parent = coming.has_parent_of(key);
                assert!(!is_parent || stored < start, "seed {seed}: {key} missed {parent}");
            }
        }
    }
}
