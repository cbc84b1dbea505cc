//! `node status` of a replica, for people.

use super::plain;
use crate::http::routes::admin::wire::{AssetFigures, OutboxFigures, ReplicaStatus};

/// The whole page. What is not known is said to be so.
pub(super) fn render(status: &ReplicaStatus) -> String {
    let node = &status.node;
    let unknown = || "unknown".to_owned();
    let upstream = status.upstream.clone().unwrap_or_else(|| "none at the moment".to_owned());
    let staleness = status.staleness_ms.map_or_else(unknown, |ms| format!("{:.1} s", ms as f64 / 1_000.0));
    let head = status.head.clone().unwrap_or_else(unknown);
    let records = match status.head_records {
        Some(theirs) => format!("{} of {theirs}", status.records),
        None => format!("{}, the upstream's are unknown", status.records),
    };
    let disk = status.disk_bytes.map_or_else(unknown, |bytes| format!("{bytes} bytes"));
    let room = if status.has_room { "" } else { ", ALMOST FULL: nothing more is mirrored" };
    let rows = [
        ("role", format!("{} {}, since {} UTC", node.role, node.version, node.started_at)),
        ("phase", status.phase.clone()),
        ("upstream", upstream),
        ("position", if status.is_filled { status.position.clone() } else { "never filled".to_owned() }),
        ("head", head),
        ("staleness", staleness),
        ("records", records),
        ("disk", format!("{disk}{room}")),
        ("assets", assets(&status.assets)),
        ("outbox", outbox(&status.outbox)),
        ("last scrub", scrub(status)),
        ("differences", status.differences.to_string()),
        ("reconciliations", status.reconciliations.to_string()),
        ("followers", status.followers.to_string()),
        ("last session", status.last_end.clone().unwrap_or_else(|| "has not ended".to_owned())),
    ];
    let line = |(name, value): &(&str, String)| plain(&format!("{name:<16}{}\n", value.replace('\n', " ")));
    rows.iter().map(line).collect()
}

fn assets(assets: &AssetFigures) -> String {
    let AssetFigures { fetched, fetched_bytes, skipped } = assets;
    format!("{fetched} fetched since the start, {fetched_bytes} bytes; {skipped} left until they are read")
}

fn outbox(outbox: &OutboxFigures) -> String {
    if outbox.webhooks == 0 {
        return "empty".to_owned();
    }
    let oldest = outbox.oldest_age_ms.unwrap_or_default() / 1_000;
    let failure =
        outbox.last_failure.as_ref().map(|why| format!("; last failure: {why}")).unwrap_or_default();
    format!("{} webhooks of {} bytes, the oldest since {oldest} s{failure}", outbox.webhooks, outbox.bytes)
}

fn scrub(status: &ReplicaStatus) -> String {
    status.last_scrub.as_ref().map_or_else(
        || "none since the start".to_owned(),
        |scrub| {
            format!("{} UTC, {} records, {} damaged", scrub.at, scrub.records_checked, scrub.records_damaged)
        },
    )
}
