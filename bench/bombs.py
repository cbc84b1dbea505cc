"""Hostile datasets against a node: its peak memory, its answers, and whether it goes on serving others.

Usage: bombs.py [NAME ...]     (a Python with pyarrow; build the node with --release before; NAMEs select bombs)
Each bomb gets a node of its own with an empty data directory, beside innocent datasets; then one node gets all of them.
Fails when a node's VmHWM reaches 512 MiB, an answer is missing, an error does not say what is wrong, or an innocent
dataset is not served.
"""

import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from make_bombs import BOMBS, innocent
from node import Node

RSS_MB_MAX = 512
BOUND_S = 900
HERE = Path(__file__).parent


def ask(node, path):
    status, body = node.get(path)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, {"error": repr(body[:200])}


def answer(node, dataset):
    """Codes of /splits and /first-rows, rows, and the error's sentence; the first split that is listed is asked for."""
    status, splits = ask(node, f"/splits?dataset={dataset}")
    listed = splits.get("splits")
    if status != 200 or not listed:
        failed = (splits.get("failed") or [{}])[0]
        error = failed.get("error", splits)
        return {"splits": status, "rows": None, "first_rows": None, "says": sentence(error)}
    split = listed[0]
    query = f"dataset={dataset}&config={split['config']}&split={split['split']}"
    status_of_rows, body = ask(node, f"/first-rows?{query}")
    if status_of_rows == 200:
        return {"splits": status, "first_rows": 200, "rows": len(body["rows"]), "says": ""}
    return {"splits": status, "first_rows": status_of_rows, "rows": None, "says": sentence(body)}


def sentence(error):
    cause = error.get("cause_message")
    return " / ".join(part for part in (error.get("error"), cause) if part)


def measured(hub, names):
    """A node on the hub, until everything is answered: seconds, peak MB, answers by name, innocent datasets that are served."""
    with tempfile.TemporaryDirectory(dir=HERE.parent / "target") as data:
        node = Node(hub, data)
        total = sum(len(list(namespace.iterdir())) for namespace in hub.iterdir())
        try:
            seconds = node.until(lambda: node.idle(total), "idle", BOUND_S)
            answers = {name: answer(node, f"bombs/{name}") for name in names}
            served = [answer(node, f"innocent/d{index}")["rows"] == 100 for index in range(5)]
            return seconds, node.rss_peak_mb(), answers, all(served), None
        except (TimeoutError, RuntimeError) as error:
            alive = node.process.poll() is None
            return time.perf_counter() - node.started, node.rss_peak_mb() if alive else 0, {}, False, str(error)
        finally:
            if node.process.poll() is None:
                node.stop()


def disk(folder):
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(file.st_size for file in files)


def wrong(name, rss, given, served, failure):
    if failure:
        return failure
    found = []
    if rss >= RSS_MB_MAX:
        found.append("memory")
    if not served:
        found.append("innocent datasets are not served")
    if name:
        found += wrong_answer(name, given)
    return ", ".join(found)


def wrong_answer(name, given):
    if given is None or 0 in (given["splits"], given["first_rows"]):
        return ["no answer"]
    if given["rows"]:
        return []
    return [] if re.search(BOMBS[name][1], given["says"]) else ["vague error"]


def report(name, size, seconds, rss, given, problem):
    given = given or {"splits": "", "first_rows": "", "rows": None, "says": ""}
    says = f"{given['rows']} rows" if given["rows"] is not None else given["says"].replace("|", "\\|").replace("\n", " ")[:300]
    codes = f"{given['splits']} / {given['first_rows'] or '-'}"
    print(f"| {name} | {size:,} | {codes} | {seconds:.1f} s | {rss} | {says} |{' WRONG: ' + problem if problem else ''}", flush=True)


def main():
    names = sys.argv[1:] or list(BOMBS)
    failed = []
    print("| bomb | bytes | status of /splits / /first-rows | answered after | peak RSS MB | answer |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=HERE.parent / "target") as folder:
        folder = Path(folder)
        everything = folder / "all"
        innocent(everything)
        for name in names:
            hub = folder / "hub"
            innocent(hub)
            home = hub / "bombs" / name
            home.mkdir(parents=True)
            BOMBS[name][0](home)
            seconds, rss, answers, served, failure = measured(hub, [name])
            problem = wrong(name, rss, answers.get(name), served, failure)
            report(name, disk(home), seconds, rss, answers.get(name), problem)
            failed += [name] if problem else []
            (everything / "bombs").mkdir(exist_ok=True)
            home.rename(everything / "bombs" / name)
            shutil.rmtree(hub)
        if len(names) > 1:
            seconds, rss, answers, served, failure = measured(everything, names)
            vague = [name for name in names if not failure and wrong_answer(name, answers.get(name))]
            problem = ", ".join([wrong(None, rss, None, served, failure), *vague]).strip(", ")
            report("all of them", disk(everything), seconds, rss, None, problem)
            failed += ["all of them"] if problem else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
