"""A real six-node cluster that is backed up: what tests/bench/backup does with it."""
import contextlib
import json
import os
import pathlib
import shutil
import threading
import time

from peers import run
from servers import Kluis, wait_until

MIB = 1 << 20
FILES_A_BATCH = 256
READ_BYTES = 1 << 20
RSS_PAUSE_S = 0.02
WATCH_PAUSE_S = 0.02


def is_file(path):
    return path.is_file() and not path.is_symlink()


def bytes_below(top):
    return sum(path.stat().st_size for path in top.rglob("*") if is_file(path))


def make_cold(*tops):
    """What lies below is read from the disk the next time, by whomever."""
    os.sync()
    for top in tops:
        for path in top.rglob("*"):
            if is_file(path):
                with open(path, "rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def nice_counts(note):
    """Nice values count between all processes that start inside. The kernel's autogroups (sched(7)) give each session, which each node
    and each receiver is, the same share whatever its nice value; under systemd it is the units' weights that count."""
    path = pathlib.Path("/proc/sys/kernel/sched_autogroup_enabled")
    on = path.exists() and path.read_text().strip() != "0"
    if on and not os.access(path, os.W_OK):
        note("autogroups stay on (not root): receivers have the same share of the cores as nodes")
        on = False
    if on:
        path.write_text("0")
    try:
        yield
    finally:
        if on:
            path.write_text("1")


class Peak:
    """The largest resident size of a process while the block runs."""

    def __init__(self, pid):
        self.status, self.bytes, self.ended = pathlib.Path(f"/proc/{pid}/status"), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        while not self.ended.is_set():
            for line in self.status.read_text().splitlines():
                if line.startswith("VmRSS:"):
                    self.bytes = max(self.bytes, int(line.split()[1]) * 1024)
            self.ended.wait(RSS_PAUSE_S)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


class Store(Kluis):
    """The store's files are of 1 MiB each, encrypted by a client like any other."""

    def __init__(self):
        super().__init__()
        self.top = self.cluster.top
        self.files = 0

    def site_dir(self, site):
        return self.cluster.site_dir(site)

    # --- what is in it ---

    def put(self, names):
        """New random bytes under these names: a file that is there is changed."""
        made = self.top / "files"
        made.mkdir()
        try:
            for name in names:
                (made / name).write_bytes(os.urandom(MIB))
            self.cluster.client("put", "-r", made, "bench:/", timeout=1800)
        finally:
            shutil.rmtree(made)

    def fill(self, mib):
        self.cluster.client("vault", "create", "bench")
        for first in range(0, mib, FILES_A_BATCH):
            self.put([f"f{i}" for i in range(first, min(first + FILES_A_BATCH, mib))])
        self.files = mib

    def change(self, percent, random):
        """Writes so many of the files anew; bytes."""
        n = max(1, round(self.files * percent / 100))
        self.put([f"f{i}" for i in random.sample(range(self.files), n)])
        return n * MIB

    # --- who takes part ---

    def edit_settings(self, edit):
        """Stops all, gives each node's settings through edit(lines) and starts all."""
        self.cluster.quickstart("down")
        for path in (self.cluster.dir / "sites").glob("*/kluisd.ini"):
            path.write_text("\n".join(edit(path.read_text().splitlines())) + "\n")
        self.cluster.quickstart("up")

    def one_receiver(self, taker, receiver):
        """Snapshots go from one to the other alone, and count with that copy, as restic and borg have one repository; nor is there a
        journal between them, which would take the same changes a second time while they are measured."""
        kept_sites = (f"[site {taker}]", f"[site {receiver}]")
        def edit(lines):
            section, kept = "", []
            for line in lines:
                section = line if line.startswith("[") else section
                if line.startswith("copies ="):
                    line = "copies = 1"
                if not (line.startswith("ssh") and section.startswith("[site ") and section not in kept_sites):
                    kept.append(line)
                if line == "[backup]":
                    kept.append("journal_s = 0")
            return kept
        self.edit_settings(edit)

    def leave(self, *sites):
        """These nodes stop and their disk is given back."""
        for site in sites:
            self.cluster.stop(site)
            shutil.rmtree(self.site_dir(site) / "data")

    def empty_repositories(self, *sites):
        for site in sites:
            self.cluster.stop(site)
            for name in ("repository/objects", "repository/manifests", "repository/receipts", "drop"):
                for path in (self.site_dir(site) / name).rglob("*"):
                    if is_file(path):
                        path.unlink()
        for site in sites:
            self.cluster.start(site)

    # --- backup ---

    def begin_snapshot(self, site, *words):
        """Its id, as soon as the cluster knows of it."""
        return json.loads(self.cluster.ctl(site, "-o", "json", *words).stdout)["id"]

    def snapshot_records(self, site, snapshot):
        """The record again and again, for an hour, by one connection: what is measured must not pay for who watches."""
        end = time.monotonic() + 3600
        with contextlib.closing(self.cluster.admin_connection(site)) as connection:
            while time.monotonic() < end:
                _, record = connection.get(f"/v1/sys/snapshots/{snapshot}")
                if record["state"] == "failed":
                    raise RuntimeError(f"snapshot {snapshot} failed: {record['error']}")
                yield record
                time.sleep(WATCH_PAUSE_S)
        raise RuntimeError(f"snapshot {snapshot} is not confirmed after an hour")

    def wait_idle(self, site):
        """Until the puts that made the store are no clients at work any more, beside whom a snapshot is held to busy_kib: three seconds."""
        def entries():
            return self.cluster.admin(site, "/v1/sys/status")["applied_index"]
        for _ in range(30):
            before = entries()
            time.sleep(4)
            if entries() - before < 20:
                return
        raise RuntimeError("somebody still writes after two minutes")

    def snapshot(self, site, *words, copies=1):
        """Takes one and waits until so many sites confirmed it: its record, seconds until it was written, seconds in all."""
        begin = time.monotonic()
        written = None
        for record in self.snapshot_records(site, self.begin_snapshot(site, *words)):
            now = time.monotonic() - begin
            if written is None and record["state"] != "running":
                written = now
            if len(record["confirmed_by"]) >= copies:
                return record, written, now

    def confirmed_by(self, site, snapshot):
        return len(next(self.snapshot_records(site, snapshot))["confirmed_by"])

    def wait_confirmed(self, site, snapshot, copies):
        wait_until(f"snapshot {snapshot} at {copies} sites", 1800, lambda: self.confirmed_by(site, snapshot) >= copies)

    def checkpoint(self, site, target):
        """A consistent copy of a node's RocksDB, by hard links: the node writes all of it when it stops, and then only new files."""
        self.cluster.stop(site)
        shutil.rmtree(target, ignore_errors=True)
        run(["cp", "-al", self.site_dir(site) / "data" / "db", target])
        for name in ("LOCK", "LOG"):
            (target / name).unlink(missing_ok=True)
        self.cluster.start(site)

    def restore(self, site, snapshot, number):
        """A store from the site's own repository; seconds. It is removed again."""
        here = self.site_dir(site)
        config = here / "restore.ini"
        config.write_text((here / "kluisd.ini").read_text().replace("data = data\n", "data = restored\n", 1))
        pki = self.cluster.dir / "pki"
        try:
            return run([self.cluster.kluisctl, "restore", "cluster", "--config", config, "--snapshot", snapshot, "--key-file", pki / "backup.key",
                        "--restore-key", pki / "restore.key", "--record", self.top / f"record-{number}", "--yes"])
        finally:
            shutil.rmtree(here / "restored", ignore_errors=True)
