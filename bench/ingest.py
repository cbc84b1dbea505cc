"""A folder of 1,000 small datasets: seconds until all are served, and what a restart costs.

Usage: ingest.py [DATASETS]      (build the node with --release before)
"""

import json
import sys
import tempfile
from pathlib import Path

from node import Node


def make(hub, count):
    for index in range(count):
        folder = hub / f"org{index % 20}" / f"d{index}"
        folder.mkdir(parents=True)
        rows = [{"id": i, "text": f"row {i} of dataset {index}", "value": i * 0.5} for i in range(150)]
        if index % 2:
            (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            lines = "".join(f"{row['id']},{row['text']},{row['value']}\n" for row in rows)
            (folder / "train.csv").write_text("id,text,value\n" + lines)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        hub, data = Path(folder) / "hub", Path(folder) / "data"
        make(hub, count)
        node = Node(hub, data)
        seconds = node.until(lambda: node.idle(count), "idle")
        failed = [j for j in node.jobs() if j["outcome"] != "ok"]
        print(f"{count} datasets served after {seconds:.2f} s; {len(failed)} failed jobs; peak RSS {node.rss_peak_mb()} MB")
        assert node.stop() == 0
        node = Node(hub, data, port=8351)
        path = f"/first-rows?dataset=org7/d{count - 13}&config=default&split=train"
        first = node.until(lambda: node.get(path)[0] == 200, "first answer")
        node.until(lambda: node.metric("outpost_hub_scans_total") > 0 or node.idle(count), "scan")
        print(f"restart: first answer after {first:.3f} s, {len(list(node.jobs()))} jobs run, peak RSS {node.rss_peak_mb()} MB")
        assert node.stop() == 0


if __name__ == "__main__":
    main()
