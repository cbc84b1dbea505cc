"""First-rows jobs over images against Python `datasets` with Pillow making the same JPEG assets: wall and CPU time, peak memory.

Usage: images.py PYTHON [HUB]      (a Python that has `datasets`, Pillow and numpy; build the node with --release before)
HUB keeps the 200 + 200 images between runs. Each run gets a node of its own with an empty data directory. The node's job time
is from claim to commit, opening the repository and keeping the assets on disk included; Python's import time is left out.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from node import Node

RUNS = int(os.environ.get("RUNS", "5"))
HERE = Path(__file__).parent


def cpu_s(process):
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def node_run(hub, dataset):
    with tempfile.TemporaryDirectory(dir=hub.parent) as data:
        alone = Path(data) / "hub" / "bench"
        alone.mkdir(parents=True)
        subprocess.run(["cp", "-rl", str(hub / "bench" / dataset), str(alone)], check=True)
        node = Node(alone.parent, Path(data) / "data")
        node.until(lambda: node.idle(1), "idle")
        job = next(j for j in node.jobs() if j["job.kind"] == "split-first-rows")
        assert job["outcome"] == "ok", job
        rss, cpu = node.rss_peak_mb(), cpu_s(node.process)
        node.stop()
        return {"wall_s": job["duration_ms"] / 1000, "cpu_s": cpu, "rss_mb": rss}


def python_run(python, hub, dataset):
    with tempfile.TemporaryDirectory(dir=hub.parent) as output:
        command = [python, str(HERE / "images_python.py"), str(hub / "bench" / dataset), output]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def figures(runs):
    return f"{min(r['wall_s'] for r in runs) * 1000:.0f} | {min(r['cpu_s'] for r in runs):.2f} | {max(r['rss_mb'] for r in runs)}"


def main():
    python = sys.argv[1]
    with tempfile.TemporaryDirectory(dir=HERE.parent / "target") as folder:
        hub = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "hub"
        if not (hub / "bench").exists():
            subprocess.run([python, str(HERE / "make_images.py"), str(hub)], check=True)
        print("| images | node: job ms (min) | node: CPU s of all its work | node: peak RSS MB | Python: wall ms (min) | CPU s | RSS MB |")
        print("|---|---|---|---|---|---|---|")
        for dataset in sorted(path.name for path in (hub / "bench").iterdir()):
            nodes, pythons = [], []
            # In turns, so that other load on the machine meets both.
            for _ in range(RUNS):
                nodes.append(node_run(hub, dataset))
                pythons.append(python_run(python, hub, dataset))
            print(f"| {dataset} | {figures(nodes)} | {figures(pythons)} |", flush=True)


if __name__ == "__main__":
    main()
