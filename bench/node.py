"""Starts a node for the benchmarks and asks it things. Standard library only."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

NODE = os.environ.get("NODE", str(Path(__file__).parent.parent / "target" / "release" / "node"))


class Node:
    """A running node; its log goes to DATA/log.jsonl."""

    def __init__(self, hub, data, port=8350, options=()):
        self.url = f"http://127.0.0.1:{port}"
        Path(data).mkdir(parents=True, exist_ok=True)
        self.log = open(Path(data) / "log.jsonl", "w")
        command = [NODE, "--hub", str(hub), "--data-dir", str(data), "--listen", f"127.0.0.1:{port}", *options]
        environment = {"OUTPOST_LOG_FORMAT": "json", "PATH": os.environ["PATH"]}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stderr=self.log, env=environment)

    def get(self, path):
        """Status and body."""
        try:
            with urllib.request.urlopen(self.url + path) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def until(self, condition, what, bound_s=300):
        """Seconds from the start of the process until the condition holds."""
        while True:
            try:
                if condition():
                    return time.perf_counter() - self.started
            except OSError:
                pass
            if time.perf_counter() - self.started > bound_s:
                raise TimeoutError(what)
            if self.process.poll() is not None:
                raise RuntimeError(f"the node ended with {self.process.returncode}")
            time.sleep(0.002)

    def metric(self, name, labels=""):
        """Sum of a metric's samples whose label text contains `labels`."""
        text = self.get("/metrics")[1].decode()
        pattern = re.compile(rf"^{re.escape(name)}(\{{[^}}]*\}})? (\S+)$", re.M)
        return sum(float(m[2]) for m in pattern.finditer(text) if labels in (m[1] or ""))

    def idle(self, datasets):
        """Whether this many datasets are known and no job is left."""
        return self.metric("outpost_datasets") == datasets and self.metric("queue_jobs_total") == 0

    def rss_peak_mb(self):
        """Peak resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024

    def stop(self):
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.close()
        return code

    def jobs(self):
        """The log's lines about ended jobs."""
        self.log.flush()
        for line in open(self.log.name):
            event = json.loads(line)
            if "job.kind" in event:
                yield event
