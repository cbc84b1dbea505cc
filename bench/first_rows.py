"""First-rows jobs against Python `datasets`: wall time, bytes read through the Hub, peak memory of the whole node.

Usage: first_rows.py PYTHON      (a Python that has `datasets` and `pyarrow`; build the node with --release before)
Each file gets a node of its own, with an empty data directory, so that peak memory is that job's. Python's import time is
left out; the node's job time is from claim to commit, and includes opening the repository.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from node import Node

RUNS = 5
HERE = Path(__file__).parent


def node_run(hub, dataset):
    with tempfile.TemporaryDirectory() as data:
        alone = Path(data) / "hub" / "bench"
        alone.mkdir(parents=True)
        subprocess.run(["cp", "-rl", str(hub / "bench" / dataset), str(alone)], check=True)
        node = Node(alone.parent, Path(data) / "data")
        node.until(lambda: node.idle(1), "idle")
        job = next(j for j in node.jobs() if j["job.kind"] == "split-first-rows")
        rss = node.rss_peak_mb()
        node.stop()
        return job["duration_ms"], job["bytes_read"], rss, job["outcome"]


def main():
    python = sys.argv[1]
    with tempfile.TemporaryDirectory(dir=HERE.parent / "target") as folder:
        hub = Path(folder)
        subprocess.run([python, str(HERE / "make_data.py"), str(hub)], check=True)
        print("| file | size | node: job ms (min of %d) | bytes read | node peak RSS MB | Python wall ms (min) | Python RSS MB |" % RUNS)
        print("|---|---|---|---|---|---|---|")
        for dataset in sorted(path.name for path in (hub / "bench").iterdir()):
            runs = [node_run(hub, dataset) for _ in range(RUNS)]
            assert all(outcome == "ok" for *_, outcome in runs), runs
            command = [python, str(HERE / "first_rows_python.py"), str(hub / "bench" / dataset)]
            pythons = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(RUNS)]
            size = sum(f.stat().st_size for f in (hub / "bench" / dataset).iterdir())
            job_ms, bytes_read, rss = min(r[0] for r in runs), max(r[1] for r in runs), max(r[2] for r in runs)
            wall = min(p["wall_s"] for p in pythons) * 1000
            share = 100 * bytes_read / size
            print(f"| {dataset} | {size:,} | {job_ms} | {bytes_read:,} ({share:.2f} %) | {rss} | {wall:.0f} | {max(p['rss_mb'] for p in pythons)} |")


if __name__ == "__main__":
    main()
