#!/usr/bin/env python3
"""Latency of a hit in the result cache, beside the stores that people use for it.

    ./run bench cache [--quick] [--only REGEX] [--json FILE]

Every store holds the same answers of 1,552 bytes under keys made of a sentence: a report and an
embedding of 384 floats. A hit is from the sentence to the answer in the reader's memory, key hashing
included; the sentences are drawn at random, and every answer is compared, all of its bytes, outside
of the timed part. Readers are processes.

  nacelle     the sidecar's table, read by the client library through shared memory
  redis       redis-server, GET over a Unix socket (hiredis)
  memcached   get over a Unix socket (libmemcached, binary protocol)
  lmdb        a memory-mapped B+ tree, read in the process (a renewed read transaction)
  map         std::unordered_map<std::string, ...> of the process itself
  array       no key: a bare read of as many bytes from a random place. Shown as the bound

The servers have no persistence and all the memory they want. Stores take turns; all numbers are
medians over the turns.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

BENCH = Path(__file__).resolve().parent
sys.path.insert(0, str(BENCH / "support"))

import rows  # noqa: E402
from machine import about  # noqa: E402
from processes import BUILD, Answering, Failed, end  # noqa: E402

STORES = {"nacelle": "nacelle", "map": "nacelle", "array": "nacelle", "lmdb": "lmdb",
          "redis": "redis", "memcached": "memcached"}
SERVERS = {
    "redis": ["redis-server", "--port", "0", "--unixsocket", "{socket}", "--save", "", "--appendonly",
              "no", "--maxmemory", "0"],
    "memcached": ["memcached", "-s", "{socket}", "-m", "8192", "-t", "2", "-u", "{user}"],
}
ENTRIES = [500, 100_000, 1_000_000]
READERS = [1, 2, 8]
WRITES_PER_S = 1_000_000
TURNS = 3
RUN_MS = 500


class Bench:
    def __init__(self, options, stack, folder):
        self.options, self.stack, self.folder = options, stack, folder
        self.rows = []
        self.turns, self.ms = (1, 200) if options.quick else (TURNS, RUN_MS)

    def wants(self, case):
        return re.search(self.options.only, case) is not None

    def run(self):
        for entries in ENTRIES[:2] if self.options.quick else ENTRIES:
            cases = [(readers, writes) for writes in (0, WRITES_PER_S) for readers in READERS
                     if self.wants(self.case(entries, readers, writes))]
            if cases:
                with ExitStack() as stack:
                    self.entries(stack, entries, cases)

    @staticmethod
    def case(entries, readers, writes):
        return (f"{entries:,} entries, {readers} reader{'s' * (readers > 1)}"
                + ", beside a writer" * (writes > 0))

    def server(self, stack, name, folder):
        """The socket of a server of its own, once it listens."""
        socket = folder / "socket"
        command = [word.format(socket=socket, user=os.environ.get("USER", "root"))
                   for word in SERVERS[name]]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(end, process, 10)
        deadline = time.monotonic() + 10
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{name} does not start")
            time.sleep(0.01)
        return socket

    def start(self, stack, entries):
        """{store: its process, filled and verified}"""
        stores = {}
        for name, library in STORES.items():
            program = BUILD / "bin" / f"cache_{library}"
            if not program.exists() or (name in SERVERS and shutil.which(SERVERS[name][0]) is None):
                print(f"no {name}: it is not installed", flush=True)
                continue
            folder = self.folder / f"{name}-{entries}"
            folder.mkdir()
            at = self.server(stack, name, folder) if name in SERVERS else folder
            stores[name] = Answering(stack, program.name, [program, name, at, str(entries)])
            stores[name].answer()
        return stores

    def entries(self, stack, entries, cases):
        stores = self.start(stack, entries)
        print(f"verified: {entries:,} entries in {', '.join(stores)}", flush=True)
        for readers, writes in cases:
            measured = {name: [] for name in stores}
            for _ in range(self.turns):
                for name, store in stores.items():
                    if writes and name in ("map", "array"):
                        continue  # nobody else can write those
                    if readers > 1 and name in ("map", "array"):
                        continue
                    report = json.loads(store.ask("read", readers, self.ms, writes))
                    if report["wrong"] or report["missed"]:
                        raise Failed(f"{name}: {report['wrong']} answers of {report['gets']} were "
                                     f"wrong, {report['missed']} were not there")
                    measured[name].append(report)
            for value in ("p50_ns", "p99_ns"):
                self.show(self.case(entries, readers, writes), value, measured)

    def show(self, case, value, measured):
        def values(name):
            return [report[value] for report in measured.get(name, [])]

        bound = values("array")
        label = f"{case}, {value[:3]}"
        if not self.rows:
            rows.print_header()
        for peer in ("redis", "memcached", "lmdb", "map"):
            if values(peer):
                self.add(f"{label}, to {peer}", values("nacelle"), values(peer), peer,
                         statistics.median(bound) if bound else None)
        puts = [report["puts_per_s"] for report in measured["nacelle"]]
        if max(puts) > 0:
            print(f"    ours beside {statistics.median(puts):,.0f} puts/s", flush=True)

    def add(self, case, ours, peer, name, bound):
        self.rows.append({**rows.row("cache", case, "ns", ours, peer, name, bound, "array", True),
                          **about()})
        rows.print_row(self.rows[-1])
        if self.options.json:
            rows.write(self.options.json, self.rows)


def main():
    parser = argparse.ArgumentParser(prog="./run bench cache", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer entries and turns")
    parser.add_argument("--json", metavar="FILE", help="also write a JSON object per row")
    parser.add_argument("--only", metavar="REGEX", default="", help="only the cases it is found in")
    options = parser.parse_args()
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nacelle-bench-")))
            print(f"CPUs {len(os.sched_getaffinity(0))}, load {os.getloadavg()[0]:.2f}", flush=True)
            Bench(options, stack, folder).run()
    except (Failed, OSError) as error:
        sys.exit(f"bench cache: {error}")


if __name__ == "__main__":
    main()
