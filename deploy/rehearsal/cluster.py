"""Real nodes on loopback: started, asked, stopped, killed. Standard library only.

Owns the processes of one scenario and its directory, which is kept when the scenario fails. Waits poll a condition within a
bound; nothing sleeps in the hope that something has happened. A node that ends without being told to fails the wait.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NODE = str(Path(os.environ["NODE"]).resolve())
SAMPLES = ROOT / "examples" / "hub"
POLL_S = 0.02
BOUND_S = float(os.environ.get("BOUND_S", "90"))
SECRET = "rehearsal-webhook-secret"
TOKEN = "rehearsal-sync-token-0123456789"
# One base for all nodes, as behind one host name: their answers are then the same to the byte.
PUBLIC_URL = "http://viewer.test"


class Failed(Exception):
    """An expectation that does not hold."""


def expect(holds, what):
    if not holds:
        raise Failed(what)


def wait(what, condition, bound_s=BOUND_S, alive=()):
    """The first true value of a condition, which may fail to connect in between."""
    deadline = time.monotonic() + bound_s
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, http.client.HTTPException):
            pass
        for node in alive:
            node.expect_running()
        if time.monotonic() > deadline:
            raise Failed(f"not within {bound_s} s: {what}")
        time.sleep(POLL_S)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def position(self):
        """(epoch, seq) of the state that answered."""
        epoch, seq = self.headers["x-sync-position"].rsplit(":", 1)
        return epoch, int(seq)

    @property
    def staleness(self):
        """Seconds, or None where the node does not know."""
        text = self.headers.get("x-sync-staleness")
        return None if text in (None, "unknown") else float(text)

    @property
    def content(self):
        """What a reader sees, without the position that it was read at."""
        return self.status, self.headers.get("x-error-code"), self.headers.get("x-revision"), self.body


class Node:
    """One node. It keeps its ports and its directory over restarts."""

    def __init__(self, cluster, name, role, options, sync=False):
        self.cluster, self.name, self.role = cluster, name, role
        self.data = cluster.directory / name
        self.port, self.sync_port = free_port(), free_port() if sync else None
        self.sync_url = f"http://127.0.0.1:{self.sync_port}"
        self.options = list(options)
        self.token = TOKEN
        self.log_file = cluster.directory / f"{name}.log"
        self.process = None

    def command(self, *extra):
        given = ["--role", self.role, "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.data)]
        given += ["--public-url", PUBLIC_URL, "--webhook-secret", SECRET, "--sync-token", self.token]
        if self.sync_port and "--sync-listen" not in extra:
            given += ["--sync-listen", f"127.0.0.1:{self.sync_port}"]
        return [NODE, *given, *self.options, *extra]

    def start(self, *extra):
        """Starts it and waits until it answers; whether it is ready is another question."""
        environment = {"OUTPOST_LOG_FORMAT": "json", "PATH": os.environ.get("PATH", "")}
        self.log_mark = self.log_file.stat().st_size if self.log_file.exists() else 0
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.command(*extra), stderr=log, env=environment)
        wait(f"{self.name} answers", lambda: self.get("/healthcheck").status == 200, alive=[self])
        return self

    def expect_running(self):
        code = self.process and self.process.poll()
        expect(code is None, f"{self.name} ended with {code}: {self.last_words()}")

    def stop(self):
        """SIGTERM, as systemd and fly.io send it."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        expect(code == 0, f"{self.name} was stopped and ended with {code}: {self.last_words()}")
        self.process = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def last_words(self):
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n  ".join(lines[-8:])

    def said(self, pattern):
        """Whether a line of its log since the last start matches."""
        with open(self.log_file, errors="replace") as log:
            log.seek(self.log_mark)
            return re.search(pattern, log.read(), re.I) is not None

    def request(self, method, path, headers=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, headers)

    def webhook(self, dataset, event="update"):
        payload = {"event": event, "scope": "repo.content", "repo": {"type": "dataset", "name": dataset, "headSha": "0" * 40}}
        headers = {"X-Webhook-Secret": SECRET, "Content-Type": "application/json"}
        return self.request("POST", "/webhook", headers, json.dumps(payload))

    def ready(self):
        return self.get("/ready").status == 200

    def position(self):
        return self.get("/healthcheck").position

    def metric(self, name, labels=""):
        """Sum of the samples of a metric whose label text contains `labels`; None when there are none."""
        pattern = re.compile(rf"^{re.escape(name)}(\{{[^}}]*\}})? (\S+)$", re.M)
        found = [float(m[2]) for m in pattern.finditer(self.get("/metrics").body.decode()) if labels in (m[1] or "")]
        return sum(found) if found else None

    def client(self, *arguments):
        """A command of the binary, as an operator types it on this machine."""
        given = [NODE, *arguments, "--node", f"http://127.0.0.1:{self.port}", "--data-dir", str(self.data)]
        done = subprocess.run(given, capture_output=True, text=True, env={"PATH": os.environ.get("PATH", "")}, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def status(self):
        code, out, err = self.client("status", "--json")
        expect(code == 0, f"node status of {self.name} failed: {err}")
        return json.loads(out)

    def wait_ready(self, bound_s=BOUND_S):
        wait(f"{self.name} is ready", self.ready, bound_s, alive=[self])
        return self

    def wait_idle(self):
        """A primary that knows all datasets and has no job left."""
        def idle():
            # Steps that had no job since the start have no sample.
            jobs = self.metric("queue_jobs_total") or 0
            return self.metric("outpost_datasets") == len(self.cluster.datasets) and jobs == 0
        wait(f"{self.name} has computed everything", idle, alive=[self])
        return self


class Cluster:
    """A folder that stands in for the Hub, and nodes."""

    def __init__(self, name):
        self.directory = Path(tempfile.mkdtemp(prefix=f"outpost-{name}-"))
        self.hub = self.directory / "hub"
        shutil.copytree(SAMPLES, self.hub)
        self.datasets = sorted(f"{path.parent.name}/{path.name}" for path in self.hub.glob("*/*") if path.is_dir())
        self.nodes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for node in self.nodes:
            if node.process:
                node.kill()
        if kind is None:
            shutil.rmtree(self.directory)
        return False

    def primary(self, name="primary"):
        node = Node(self, name, "primary", ["--hub", str(self.hub)], sync=True)
        self.nodes.append(node)
        return node

    def replica(self, name, *upstreams, sync=False, options=()):
        """One that follows these nodes, in order of preference."""
        urls = ",".join(node.sync_url for node in upstreams)
        node = Node(self, name, "replica", ["--upstream", urls, *options], sync=sync)
        self.nodes.append(node)
        return node

    def change(self, dataset="vega/barley", marker="Rehearsal"):
        """Changes a dataset in the folder, as a push to the Hub would."""
        file = next(path for path in sorted((self.hub / dataset).rglob("*.jsonl")))
        lines = file.read_text().splitlines()
        first = json.loads(lines[0])
        first["variety"] = marker
        file.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")

    def wait_shown(self, node, marker, headers=None):
        """Waits until a reader of the node sees the change."""
        def shown():
            return marker.encode() in node.get(first_rows("vega/barley", "default", "train"), headers).body
        wait(f"{node.name} shows the change", shown, alive=[node])

    def wait_together(self, origin, *nodes):
        """Waits until nodes stand where the origin stands, and compares what their readers see."""
        for node in nodes:
            wait(f"{node.name} stands with {origin.name}", lambda: node.position() == origin.position(), alive=[origin, node])
        paths = all_paths(origin, self.datasets)
        expect(len(paths) > len(self.datasets), "there are splits to compare")
        for path in paths:
            expected = origin.get(path).content
            for node in nodes:
                found = node.get(path).content
                expect(found == expected, f"{node.name} differs from {origin.name} at {path}: {found[:3]} for {expected[:3]}")


def first_rows(dataset, config, split):
    return f"/first-rows?dataset={dataset}&config={config}&split={split}"


def all_paths(node, datasets):
    """What readers can ask for."""
    paths = []
    for dataset in datasets:
        paths.append(f"/splits?dataset={dataset}")
        for split in json.loads(node.get(paths[-1]).body).get("splits", []):
            paths.append(first_rows(dataset, split["config"], split["split"]))
    return paths


class Readers:
    """Somebody who reads all the time, as through a load balancer: from the first node that answers.

    What is read is no dataset that scenarios change: while one is computed again it is ResponseNotReady everywhere.
    They wait `patience_s` for a node that does not listen.
    """

    def __init__(self, *nodes, patience_s=0):
        self.nodes, self.path, self.patience_s = nodes, "/splits?dataset=vega/cars", patience_s
        self.answered, self.failures = 0, []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ending.is_set():
            tried = []
            for node in self.nodes:
                tried.append(self.ask(node))
                if tried[-1] == 200:
                    self.answered += 1
                    break
            else:
                self.failures.append(tried)
            self.ending.wait(0.005)

    def ask(self, node):
        until = time.monotonic() + self.patience_s
        while True:
            try:
                return node.get(self.path).status
            except (OSError, http.client.HTTPException) as error:
                is_away = isinstance(error, (ConnectionError, http.client.RemoteDisconnected))
                if not is_away or time.monotonic() >= until:
                    return type(error).__name__
            time.sleep(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self.ending.set()
        self.thread.join()
        if kind is None:
            expect(self.answered > 0, "somebody read meanwhile")
            expect(not self.failures, f"{len(self.failures)} reads were answered by no node, the first: {self.failures[:1]}")
        return False
