//! The guards of the machine: memory of the container, memory of the machine, load.
//!
//! Owns what counts as busy (worker-and-store.md section 2.3). While the machine is busy no further job is claimed; those
//! that run go on. A figure that cannot be read refuses nobody. Figures are read again after [`limits::HOST_LOOK_MS`].

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use outpost_model::limits;

/// Says whether the machine has room for another job.
pub trait Room: Send + Sync + 'static {
    /// Why there is no room, `None` when there is.
    fn refusal(&self) -> Option<String>;
}

/// Always has room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unguarded;

impl Room for Unguarded {
    fn refusal(&self) -> Option<String> {
        None
    }
}

/// Bounds in per cent; `None` turns a guard off.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HostLimits {
    /// Memory of the container (its working set), or of the machine when there is no container with a limit.
    pub memory_pct_max: Option<f64>,
    /// Memory and swap of the machine.
    pub system_memory_pct_max: Option<f64>,
    /// Tasks that run or want to, per CPU: the larger of the last minute's and the last five minutes' mean.
    pub load_pct_max: Option<f64>,
}

/// What the kernel says, in per cent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Figures {
    container_memory: Option<f64>,
    system_memory: Option<f64>,
    load: Option<f64>,
}

/// Guards over what Linux says about this machine.
pub struct HostRoom {
    limits: HostLimits,
    last: Mutex<Option<(Instant, Option<String>)>>,
}

impl HostRoom {
    /// Guards with these bounds.
    #[must_use]
    pub fn new(limits: HostLimits) -> Self {
        Self { limits, last: Mutex::new(None) }
    }
}

impl Room for HostRoom {
    fn refusal(&self) -> Option<String> {
        if self.limits == HostLimits::default() {
            return None;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, refusal)) = &*last
            && at.elapsed() < Duration::from_millis(limits::HOST_LOOK_MS)
        {
            return refusal.clone();
        }
        let refusal = judge(&self.limits, &Figures::read());
        let before = last.replace((Instant::now(), refusal.clone())).and_then(|(_, before)| before);
        match (&before, &refusal) {
            (None, Some(why)) => tracing::warn!("no further job is claimed while {why}"),
            (Some(_), None) => tracing::info!("the machine has room again, jobs are claimed"),
            _ => {}
        }
        refusal
    }
}

fn judge(limits: &HostLimits, figures: &Figures) -> Option<String> {
    let exceeds = |what: &str, is: Option<f64>, max: Option<f64>| {
        let (is, max) = is.zip(max)?;
        (is >= max).then(|| format!("{what} is at {is:.0} % of at most {max:.0} %"))
    };
    let memory = figures.container_memory.or(figures.system_memory);
    exceeds("the memory of this container", memory, limits.memory_pct_max)
        .or_else(|| {
            exceeds("the memory of this machine", figures.system_memory, limits.system_memory_pct_max)
        })
        .or_else(|| exceeds("the load of this machine", figures.load, limits.load_pct_max))
}

impl Figures {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            container_memory: container_memory(Path::new("/sys/fs/cgroup")),
            system_memory: text("/proc/meminfo").and_then(|text| system_memory(&text)),
            load: text("/proc/loadavg").and_then(|text| load(&text, cpus)),
        }
    }
}

/// Working set of the cgroup in per cent of its limit; `None` when there is no limit. Pages of files that the kernel can
/// drop at once do not count.
fn container_memory(root: &Path) -> Option<f64> {
    let number = |path: &str| fs::read_to_string(root.join(path)).ok()?.trim().parse::<u64>().ok();
    let droppable = |path: &str, name: &str| {
        let text = fs::read_to_string(root.join(path)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let second = || {
        Some((
            number("memory.max")?,
            number("memory.current")?,
            droppable("memory.stat", "inactive_file ").unwrap_or(0),
        ))
    };
    let first = || {
        Some((
            number("memory/memory.limit_in_bytes")?,
            number("memory/memory.usage_in_bytes")?,
            droppable("memory/memory.stat", "total_inactive_file ").unwrap_or(0),
        ))
    };
    let (limit, used, droppable) = second().or_else(first)?;
    // The first version writes "no limit" as a number beyond all memory.
    (limit > 0 && limit < 1 << 60).then(|| percent(used.saturating_sub(droppable), limit))
}

fn system_memory(meminfo: &str) -> Option<f64> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    let swap = field("SwapTotal:").unwrap_or(0);
    let swap_used = swap.saturating_sub(field("SwapFree:").unwrap_or(0));
    (total > 0).then(|| percent(total.saturating_sub(available) + swap_used, total + swap))
}

fn load(loadavg: &str, cpus: usize) -> Option<f64> {
    let mut means = loadavg.split_whitespace().map(str::parse::<f64>);
    let (one, five) = (means.next()?.ok()?, means.next()?.ok()?);
    Some(one.max(five) / cpus as f64 * 100.0)
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64 * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guard_refuses_at_its_bound_and_only_when_it_is_on() {
        let figures = Figures { container_memory: Some(50.0), system_memory: Some(60.0), load: Some(150.0) };
        let on = |memory, system, load| HostLimits {
            memory_pct_max: memory,
            system_memory_pct_max: system,
            load_pct_max: load,
        };
        for (limits, mentions) in [
            (on(Some(50.0), None, None), Some("container")),
            (on(Some(51.0), Some(60.0), None), Some("memory of this machine")),
            (on(Some(51.0), Some(61.0), Some(150.0)), Some("load")),
            (on(Some(51.0), Some(61.0), Some(151.0)), None),
            (on(None, None, None), None),
        ] {
            let refusal = judge(&limits, &figures);
            assert_eq!(refusal.is_some(), mentions.is_some(), "{refusal:?}");
            assert!(refusal.unwrap_or_default().contains(mentions.unwrap_or_default()));
        }
        let uncontained = Figures { container_memory: None, ..figures };
        assert!(judge(&on(Some(60.0), None, None), &uncontained).is_some());
        assert_eq!(judge(&on(Some(1.0), Some(1.0), Some(1.0)), &Figures::default()), None);
    }

    #[test]
    fn the_kernels_figures_are_read() {
        let meminfo = "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   400 kB\nSwapTotal: 1000 kB\nSwapFree: 800 kB\n";
        assert_eq!(system_memory(meminfo), Some(40.0));
        assert_eq!(system_memory("MemTotal: lots"), None);
        assert_eq!(load("1.00 3.00 9.00 1/2 3", 2), Some(150.0));
        assert_eq!(load("", 2), None);
        let seen = Figures::read();
        assert!(seen.system_memory.is_some_and(|pct| (0.0..=100.0).contains(&pct)), "{seen:?}");
    }

    #[test]
    fn a_containers_memory_counts_without_what_can_be_dropped() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(container_memory(root.path()), None);
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/memory.usage_in_bytes", "500\n");
        assert_eq!(container_memory(root.path()), None);
        write("memory/memory.limit_in_bytes", "1000\n");
        assert_eq!(container_memory(root.path()), Some(50.0));
        write("memory.current", "800\n");
        write("memory.stat", "anon 1\ninactive_file 500\nactive_file 7\n");
        write("memory.max", "max\n");
        assert_eq!(container_memory(root.path()), Some(50.0));
        write("memory.max", "1000\n");
        assert_eq!(container_memory(root.path()), Some(30.0));
    }
}
