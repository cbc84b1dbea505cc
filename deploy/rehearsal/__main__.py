"""One function for each thing that docs/OPERATIONS.md tells operators to do; see deploy/rehearse.sh.

A scenario does what its section says, on real processes, and fails when something is not as the section says. It leaves its
directory behind then, with a log for each node.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
from cluster import NODE, TOKEN, Cluster, Failed, Readers, expect, first_rows, wait  # noqa: E402

BARLEY = first_rows("vega/barley", "default", "train")


def start_a_cluster():
    """Section 1: a primary and two replicas; a change at the primary is read at the replicas."""
    with Cluster("start") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        near, far = (cluster.replica(name, primary).start().wait_ready() for name in ("near", "far"))
        cluster.wait_together(primary, near, far)
        expect(near.get(BARLEY).staleness < 10, "a replica that follows says that it is fresh")
        cluster.change(marker="Changed")
        cluster.wait_shown(primary, "Changed")
        # Who shows the position that it has seen gets a state at or after it, wherever it asks.
        after = {"X-Sync-After": primary.get(BARLEY).headers["x-sync-position"]}
        for replica in (near, far):
            cluster.wait_shown(replica, "Changed", after)
        cluster.wait_together(primary.wait_idle(), near, far)
        near.stop(), far.stop(), primary.stop()


def refuse_what_is_wrong():
    """Section 2: what a machine of fly.io refuses, and what bare metal refuses, each in one line."""
    fly = {"FLY_APP_NAME": "viewer", "PRIMARY_REGION": "ams"}
    with Cluster("refused") as cluster:
        for options, variables, words in [
            ([], {**fly, "FLY_PROCESS_GROUP": "primary", "FLY_REGION": "nrt"}, "primary region ams"),
            ([], {**fly, "FLY_PROCESS_GROUP": "primary", "FLY_REGION": "ams"}, "--sync-token"),
            ([], {**fly, "FLY_PROCESS_GROUP": "edge", "FLY_REGION": "ams"}, "'edge'"),
            (["--sync-listen", "0.0.0.0:8001"], {}, "--sync-token"),
            (["--role", "replica"], {}, "--upstream"),
        ]:
            given = [NODE, "--listen", "127.0.0.1:0", "--data-dir", str(cluster.directory / "data"), *options]
            done = subprocess.run(given, capture_output=True, text=True, env=variables, timeout=30)
            expect(done.returncode == 2, f"{options} {variables}: exit code {done.returncode}")
            expect(words in done.stderr and done.stderr.count("\n") == 1, f"{words}: {done.stderr}")


def add_a_region():
    """Section 3: an empty replica behind the primary and one behind a replica, while readers read."""
    with Cluster("region") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        first = cluster.replica("first", primary, sync=True).start().wait_ready()
        with Readers(first):
            second = cluster.replica("second", primary).start()
            # It answers at once, asking upstream for what it does not have yet, and is ready when it has everything.
            expect(second.get(BARLEY).status == 200, "a replica answers while it is being filled")
            second.wait_ready()
            behind = cluster.replica("behind", first, primary).start().wait_ready()
            cluster.wait_together(primary, first, second, behind)
            # Its preferred upstream goes: it goes on behind the other.
        first.kill()
        cluster.change(marker="Rerouted")
        cluster.wait_shown(behind, "Rerouted")
        first.start().wait_ready()
        cluster.wait_together(primary.wait_idle(), first, second, behind)


def lose_the_primary():
    """Section 4: the primary's process or machine is gone for a while; its disk is not."""
    with Cluster("lost") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replica = cluster.replica("replica", primary, options=["--max-staleness", "2s"]).start().wait_ready()
        cluster.wait_together(primary, replica)
        before = replica.get(BARLEY)
        with Readers(replica):
            primary.kill()
            # Reads go on and say how old they may be; a balancer that asks /ready is told.
            wait("the replica is not ready any more", lambda: not replica.ready(), alive=[replica])
            expect(replica.get("/healthcheck").status == 200, "it is alive")
            stale = replica.get(BARLEY)
            expect(stale.content == before.content, "the same answer as before")
            expect(stale.staleness > 2, f"the age is told: {stale.headers}")
            # Whoever needs better is told so instead of being served something old.
            refused = replica.get(BARLEY, {"Cache-Control": "max-age=1"})
            expect(refused.status == 503 and "retry-after" in refused.headers, f"not served: {refused.status}")
            # A webhook is accepted, and is on disk when it is.
            expect(replica.webhook("vega/barley").status == 200, "the webhook is accepted")
        replica.kill()
        replica.start()
        expect(outbox(replica) == 1, f"the webhook is still there: {outbox(replica)}")
        cluster.change(marker="Returned")
        primary.start().wait_ready().wait_idle()
        replica.wait_ready()
        wait("the webhook is delivered", lambda: outbox(replica) == 0, alive=[replica, primary])
        cluster.wait_shown(replica, "Returned")
        cluster.wait_together(primary, replica)


def replace_the_primary():
    """Section 5: the primary's disk is gone; an empty one takes its place behind a closed door until it has computed."""
    with Cluster("replaced") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replica = cluster.replica("replica", primary).start().wait_ready()
        cluster.wait_together(primary, replica)
        old_epoch, _ = replica.position()
        with Readers(replica):
            primary.kill()
            shutil.rmtree(primary.data)
            primary.start("--sync-listen", "off").wait_ready().wait_idle()
            expect(primary.position()[0] != old_epoch, "an empty disk begins a new history")
            expect(replica.position()[0] == old_epoch, "the replica serves the old history meanwhile")
            primary.stop()
            primary.start().wait_ready().wait_idle()
            cluster.wait_together(primary, replica)
        expect(replica.position()[0] != old_epoch, "the replica moved to the new history")


def restore_a_backup():
    """Section 6: a backup is put back; with its old witness replicas refuse it, without they take it as a new history."""
    with Cluster("restored") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replica = cluster.replica("replica", primary).start().wait_ready()
        cluster.wait_together(primary, replica)
        primary.stop()
        backup, hub = cluster.directory / "backup", cluster.directory / "hub-backup"
        shutil.copytree(primary.data, backup)
        shutil.copytree(cluster.hub, hub)
        primary.start().wait_ready()
        for marker in ("Older", "Newer"):
            cluster.change(marker=marker)
            cluster.wait_shown(primary, marker)
        cluster.wait_together(primary.wait_idle(), replica)
        epoch, seq = replica.position()
        primary.kill()
        put_back(backup, primary.data)
        put_back(hub, cluster.hub)
        # The mistake: the same history, but shorter. Nobody loses what it has.
        primary.start().wait_ready().wait_idle()
        expect(primary.position() < (epoch, seq), "the backup is older")
        wait("the replica says what is wrong", lambda: replica.said("backup|behind|ahead|not reached"), alive=[replica])
        expect(replica.position() == (epoch, seq) and b"Newer" in replica.get(BARLEY).body, "the replica keeps what it has")
        # The way: without the witness the store knows that history is missing, and begins a new one.
        primary.stop()
        (primary.data / "store" / "witness").unlink()
        with Readers(replica):
            primary.start().wait_ready().wait_idle()
            expect(primary.position()[0] != epoch, "a new history")
            cluster.wait_together(primary, replica)
        expect(b"Newer" not in replica.get(BARLEY).body, "the replica has what the backup had")


def put_back(backup, place):
    shutil.rmtree(place)
    shutil.copytree(backup, place)


def upgrade():
    """Section 7: replicas one by one, then the primary; readers notice nothing, replicas resume where they were."""
    with Cluster("upgrade") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replicas = [cluster.replica(name, primary).start().wait_ready() for name in ("one", "two")]
        cluster.wait_together(primary, *replicas)
        with Readers(*replicas):
            for replica in replicas:
                replica.stop()
                replica.start().wait_ready()
            primary.stop()
            # Meanwhile: reads go on, webhooks are kept.
            expect(replicas[0].webhook("vega/barley").status == 200, "a webhook is accepted without the primary")
            primary.start().wait_ready()
            cluster.change(marker="Upgraded")
            for replica in replicas:
                cluster.wait_shown(replica, "Upgraded")
        cluster.wait_together(primary.wait_idle(), *replicas)


def damaged_disk():
    """Section 8: files of the store are damaged while the node is down; it sets them aside and fills itself anew."""
    with Cluster("damaged") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replica = cluster.replica("replica", primary).start().wait_ready()
        cluster.wait_together(primary, replica)
        replica.kill()
        damage(replica.data)
        replica.start().wait_ready()
        expect(replica.said("damaged|set aside"), "it says what it found")
        cluster.wait_together(primary, replica)
        # The primary starts a new history and computes; its replica follows.
        old_epoch, _ = primary.position()
        primary.kill()
        damage(primary.data)
        primary.start().wait_ready().wait_idle()
        expect(primary.said("damaged|set aside|history is missing"), "it says what it found")
        expect(primary.position()[0] != old_epoch, "what was lost is not passed off as the old history")
        cluster.wait_together(primary, replica)


def damage(data):
    """Overwrites the middle of every file of the stores below a directory."""
    files = [path for path in data.rglob("*") if path.is_file() and path.parent.name in ("sled", "blobs")]
    expect(any(path.stat().st_size for path in files), f"there is a store in {data}")
    for path in files:
        size = path.stat().st_size
        with open(path, "r+b") as file:
            for place in range(0, size, 4096):
                file.seek(place)
                file.write(bytes(byte ^ 0x5A for byte in file.read(64)) or b"")


def full_disk():
    """Section 9: no room at a replica, which goes on serving, and at a primary, which ends until there is room."""
    with Cluster("full") as cluster:
        primary = cluster.primary()
        replica = cluster.replica("replica", primary)
        try:
            for node in (primary, replica):
                node.data.mkdir()
                command = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", node.data]
                mounted = subprocess.run(command, capture_output=True, text=True)
                if mounted.returncode != 0:
                    return f"skipped, a tmpfs cannot be mounted here: {mounted.stderr.strip()}"
            primary.start().wait_ready().wait_idle()
            replica.start().wait_ready()
            cluster.wait_together(primary, replica)
            # It may have to start anew, once there is room.
            with Readers(replica, patience_s=1):
                fill_replica(cluster, primary, replica)
                fill_primary(cluster, primary, replica)
            cluster.wait_together(primary.wait_idle(), replica)
            replica.stop(), primary.stop()
        finally:
            for node in (primary, replica):
                if node.process:
                    node.kill()
                subprocess.run(["umount", node.data], capture_output=True)
    return None


def fill_replica(cluster, primary, replica):
    fill(replica.data / "ballast")
    before = replica.get(BARLEY)
    wait("the replica says that it has no room", lambda: replica.said("nothing more is mirrored"), alive=[replica])
    cluster.change(marker="Crowded")
    cluster.wait_shown(primary, "Crowded")
    expect(replica.get(BARLEY).body == before.body, "it serves what it has")
    (replica.data / "ballast").unlink()
    cluster.wait_shown(replica, "Crowded")


def fill_primary(cluster, primary, replica):
    epoch, _ = primary.position()
    fill(primary.data / "ballast")
    cluster.change(marker="Packed")
    wait("the primary ends", lambda: primary.process.poll() is not None, alive=[replica])
    expect(primary.process.poll() == 1 and "look at the disk" in primary.last_words(), primary.last_words())
    (primary.data / "ballast").unlink()
    primary.start().wait_ready()
    cluster.wait_shown(primary, "Packed")
    expect(primary.position()[0] == epoch, "the history goes on")
    cluster.wait_shown(replica, "Packed")


def fill(path):
    """Takes all the room that is left."""
    with open(path, "wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2


def rotate_the_token():
    """Section 10: a new token at the primary, then at the replicas, which serve what they have in between."""
    with Cluster("token") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replicas = [cluster.replica(name, primary).start().wait_ready() for name in ("one", "two")]
        cluster.wait_together(primary, *replicas)
        with Readers(*replicas):
            primary.stop()
            primary.token = TOKEN[::-1]
            primary.start().wait_ready()
            for replica in replicas:
                wait(f"{replica.name} says that it is refused", lambda: replica.said("401|SyncUnauthorized|token"), alive=[replica])
                expect(replica.get(BARLEY).status == 200, "it serves what it has")
            for replica in replicas:
                replica.stop()
                replica.token = primary.token
                replica.start().wait_ready()
            cluster.change(marker="Rotated")
            for replica in replicas:
                cluster.wait_shown(replica, "Rotated")
        cluster.wait_together(primary.wait_idle(), *replicas)


def watch():
    """Section 11: what `node status` and /metrics say of each role."""
    with Cluster("watch") as cluster:
        primary = cluster.primary().start().wait_ready().wait_idle()
        replica = cluster.replica("replica", primary).start().wait_ready()
        cluster.wait_together(primary, replica)
        for node in (primary, replica):
            code, page, error = node.client("status")
            expect(code == 0 and node.role in page.split("\n")[0], f"status of {node.name}: {error or page}")
            expect(node.status()["node"]["role"] == node.role, "the same as JSON")
        name = "outpost_position_seq"
        expect(replica.metric(name) == primary.metric(name), f"{name} of the replica")
        expect(outbox(replica) == 0, "an empty outbox")


def outbox(replica):
    """Webhooks that wait at a replica, by its metrics."""
    text = replica.get("/metrics").body.decode()
    found = re.findall(r"^outpost_outbox\S*?(?:entries|items|waiting|webhooks)\S* (\S+)$", text, re.M)
    expect(len(found) == 1, f"one metric tells how many webhooks wait: {found}")
    return float(found[0])


SCENARIOS = [
    start_a_cluster, refuse_what_is_wrong, add_a_region, lose_the_primary, replace_the_primary, restore_a_backup, upgrade,
    damaged_disk, full_disk, rotate_the_token, watch,
]


def main(names):
    known = {scenario.__name__: scenario for scenario in SCENARIOS}
    if names == ["--list"]:
        return print("\n".join(f"{name}: {scenario.__doc__}" for name, scenario in known.items()))
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no scenario is called {unknown[0]}; there are {', '.join(known)}")
    failed = 0
    # Asked to end, it takes its nodes with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for name in names or known:
        started = time.monotonic()
        try:
            outcome = known[name]() or "ok"
        except (Failed, OSError, subprocess.SubprocessError, KeyError, TypeError, ValueError):
            outcome, failed = f"FAILED\n{traceback.format_exc()}", failed + 1
        print(f"{name}: {outcome} ({time.monotonic() - started:.1f} s)", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
