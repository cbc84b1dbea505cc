//! `node status` for people.

use super::plain;
use super::table::{Align, Table};
use crate::http::routes::admin::wire::{JobItem, QueueItem, Status, WorkerItem};

use Align::{Left, Right};

/// The whole page.
pub(super) fn render(status: &Status) -> String {
    let node = &status.node;
    let mut page = plain(&format!(
        "{} {} over {}, since {} UTC, {} datasets\n",
        node.role,
        node.version,
        node.store,
        moment(&node.started_at),
        status.datasets
    ));
    page.push_str(&plain(&format!("position {}, {}\n", status.position, standing(status))));
    let sections = [
        ("Queue", queue(&status.queue), "nothing waits, nothing runs"),
        ("Running", running(&status.running), "nothing"),
        ("Workers", workers(&status.workers), "none: start one with --workers or --role worker"),
        ("Stored", stored(status), "nothing"),
    ];
    for (title, table, otherwise) in sections {
        let content = if table.is_empty() { format!("{otherwise}\n") } else { table.render() };
        page.push_str(&format!("\n{title}\n{content}"));
    }
    page
}

/// How the mirror stands to its authority.
fn standing(status: &Status) -> String {
    let Some(feed) = &status.feed else {
        return if status.is_current {
            "the authority stands at the same".to_owned()
        } else {
            format!("behind the authority: {}", status.authority_position)
        };
    };
    let mut text = format!("{} the database, {} s behind", feed.phase, feed.lag_s);
    if feed.quarantined > 0 {
        text.push_str(&format!(", {} documents in quarantine", feed.quarantined));
    }
    if let Some(error) = feed.last_error.as_ref().filter(|_| !status.is_current) {
        text.push_str(&format!(", last failure: {}", error.replace('\n', " ")));
    }
    text
}

fn queue(depths: &[QueueItem]) -> Table {
    let mut table = Table::new(&[
        ("step", Left),
        ("waiting", Right),
        ("oldest", Right),
        ("running", Right),
        ("longest", Right),
    ]);
    let mut kinds: Vec<&str> = depths.iter().map(|depth| depth.kind.as_str()).collect();
    kinds.dedup();
    for kind in kinds {
        let of_status = |is_started: bool| {
            let found = depths.iter().find(|depth| depth.kind == kind && depth.is_started() == is_started);
            found.map_or(["0".to_owned(), String::new()], |depth| {
                [depth.jobs.to_string(), age(depth.oldest_age_ms)]
            })
        };
        table.push([vec![kind.to_owned()], of_status(false).to_vec(), of_status(true).to_vec()].concat());
    }
    table
}

fn running(jobs: &[JobItem]) -> Table {
    let mut table =
        Table::new(&[("step", Left), ("dataset", Left), ("config", Left), ("split", Left), ("since", Left)]);
    for job in jobs {
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        let since = moment(job.started_at.as_deref().unwrap_or_default());
        table.push([job.kind.clone(), job.dataset.clone(), text(&job.config), text(&job.split), since]);
    }
    table
}

fn workers(workers: &[WorkerItem]) -> Table {
    let mut table = Table::new(&[
        ("host", Left),
        ("pid", Right),
        ("queues", Left),
        ("jobs", Right),
        ("started", Left),
        ("seen", Right),
        ("", Left),
    ]);
    for worker in workers {
        table.push([
            worker.host.clone(),
            worker.pid.to_string(),
            worker.queues.join(","),
            format!("{}/{}", worker.jobs.len(), worker.workers),
            moment(&worker.started_at),
            format!("{} ago", age(worker.seen_age_ms)),
            if worker.is_lost { "lost".to_owned() } else { String::new() },
        ]);
    }
    table
}

fn stored(status: &Status) -> Table {
    let mut table = Table::new(&[("step", Left), ("status", Right), ("error", Left), ("entries", Right)]);
    for count in &status.entries {
        table.push([
            count.kind.clone(),
            count.http_status.to_string(),
            count.error_code.clone().unwrap_or_default(),
            count.entries.to_string(),
        ]);
    }
    table
}

/// A time to the second, as people write it.
fn moment(time: &str) -> String {
    time.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// A duration in its two largest units.
fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::routes::admin::wire::{EntryCountItem, FeedItem, NodeItem};

    fn status() -> Status {
        let depth = |kind: &str, status: &str, jobs, oldest_age_ms| QueueItem {
            kind: kind.to_owned(),
            status: status.to_owned(),
            jobs,
            oldest_age_ms,
        };
        Status {
            node: NodeItem {
                role: "primary".to_owned(),
                version: "0.1.0".to_owned(),
                store: "embedded".to_owned(),
                started_at: "2026-01-02T03:04:05".to_owned(),
            },
            position: "ab:7".to_owned(),
            authority_position: "ab:9".to_owned(),
            is_current: false,
            feed: None,
            datasets: 3,
            queue: vec![
                depth("config-split-names", "waiting", 12, 61_000),
                depth("split-first-rows", "waiting", 2, 7_200_000),
                depth("split-first-rows", "started", 1, 15),
            ],
            running: Vec::new(),
            workers: vec![WorkerItem {
                id: "h-1-a".to_owned(),
                host: "h".to_owned(),
                pid: 1,
                queues: vec!["datasets".to_owned(), "splits".to_owned()],
                workers: 3,
                started_at: "2026-01-02T03:04:05".to_owned(),
                seen_age_ms: 50_000,
                is_lost: true,
                jobs: vec!["split-first-rows,u/d,c,train".to_owned()],
            }],
            entries: vec![EntryCountItem {
                kind: "dataset-config-names".to_owned(),
                http_status: 500,
                error_code: Some("EmptyDatasetError".to_owned()),
                entries: 2,
            }],
        }
    }

    #[test]
    fn the_page_says_what_waits_what_runs_and_who_is_lost() {
        let page = render(&status());
        for line in [
            "primary 0.1.0 over embedded, since 2026-01-02 03:04:05 UTC, 3 datasets",
            "position ab:7, behind the authority: ab:9",
            "step                waiting   oldest  running  longest",
            "config-split-names       12  1 min 1 s        0",
            "split-first-rows          2  2 h 0 min        1    15 ms",
            "dataset-config-names     500  EmptyDatasetError        2",
        ] {
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(page.lines().any(|found| squeezed(found) == squeezed(line)), "{line}\n{page}");
        }
        assert!(page.contains("Running\nnothing\n"));
        assert!(
            page.lines().any(|line| line.starts_with("h ") && line.contains("1/3") && line.ends_with("lost")),
            "{page}"
        );
    }

    #[test]
    fn a_mirror_that_is_filled_says_how_far_it_is() {
        let mut status = status();
        status.feed = Some(FeedItem {
            phase: "retrying".to_owned(),
            lag_s: 12,
            quarantined: 2,
            scans: 1,
            history_losses: 0,
            reconnects: 3,
            last_error: Some("no\nroute".to_owned()),
        });
        let told = "retrying the database, 12 s behind, 2 documents in quarantine, last failure: no route";
        assert_eq!(standing(&status), told);
    }

    #[test]
    fn ages_are_short() {
        for (ms, text) in [(5, "5 ms"), (59_999, "59 s"), (3_599_000, "59 min 59 s"), (86_400_000, "1 d 0 h")]
        {
            assert_eq!(age(ms), text);
        }
    }
}
