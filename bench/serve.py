#!/usr/bin/env python3
"""MiniLM under load: throughput, latency, overload, neighbours and memory, beside an HTTP server.

    ./run bench serve [--quick] [--only TEXT] [--texts FILE] [--json FILE]

One open-loop generator (bench/serve) asks ours and the peers the same texts at the same moments:
processes that ask for one text a call, timed from when each was due. The peer is what a team
writes: uvicorn, FastAPI, ONNX Runtime, with one and two workers, batches or not, whichever does
most. Servers and callers share the same two CPUs. Vectors are compared before anything is timed.

docs/benchmarks/serve.md says what the parts are. The peer's packages go to build/peers/serve.
"""

import argparse
import array
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path[:0] = [str(BENCH / "support"), str(BENCH / "serve")]

import rows  # noqa: E402
from encoders import find_minilm, flops_per_text, least_cosine  # noqa: E402
from machine import about  # noqa: E402
from parts import PARTS, choose_peers, chosen  # noqa: E402
from processes import BUILD, Answering, Failed, Process  # noqa: E402
from servers import (Generator, Http, Nacelle, expected_of, prepare_peer,  # noqa: E402
                     versions_of)

PYTHON = os.environ.get("NACELLE_PYTHON", sys.executable)
RESULTS = BENCH / "results/serve.json"
COSINE_MIN = 0.99999
CPUS = 2
# Of each kind: more than can be under way, so that no two equal requests are.
TEXTS = {"short": 4096, "mix": 1024}
SHORT = 16            # tokens
VERIFIED_TEXTS = 128  # with the peers, one by one
SETTLE_S = 0.1    # before each measurement
LEAD_NS = 50_000_000  # from "go" to the start of a load


class Bench:
    """What the parts share: servers, texts, what was measured so far."""

    def __init__(self, options, stack, folder):
        self.options, self.folder = options, folder
        self.quick = options.quick
        self.turns, self.seconds, self.load_seconds = (1, 1.0, 2.0) if self.quick else (3, 3.0, 6.0)
        self.python = PYTHON
        self.model = find_minilm(PYTHON)
        if self.model is None:
            raise Failed("all-MiniLM-L6-v2 is not to be had")
        self.peer_python, self.graph = prepare_peer(self.model, PYTHON)
        self.threads = len(os.sched_getaffinity(0))
        self.sidecar_options = [f"--kernels.threads={self.threads}"]
        self.rows, self.goals, self.kept = [], [], []
        self.about = about() | {"load": round(os.getloadavg()[0], 2)}
        self.capacity, self.peer_capacity = {}, {}  # texts/s by texts
        self.ours = Nacelle(stack, folder / "ours", {"minilm": self.model}, self.sidecar_options)
        self.make_texts(stack)
        for texts in self.texts.values():
            self.ours.vectors(stack, texts)

    def make_texts(self, stack):
        """What is asked, by name: the file, and the texts/s that the machine's peak allows."""
        client = Answering(stack, "skeleton_client",
                           [BUILD / "bin/skeleton_client", self.ours.socket, "peak"])
        peak = float(client.ask("peak", self.threads, "fp32")) * 1e9
        config = json.loads((self.model / "config.json").read_text())
        self.texts, self.bounds = {}, {}
        for name, length in (("short", SHORT), ("mix", 0)):
            self.texts[name] = self.folder / name
            maker = Process(stack, "make_texts.py", [
                self.peer_python, BENCH / "peers/make_texts.py", self.model,
                ROOT / "tests/demo/sentences.txt", str(length), str(TEXTS[name]), self.texts[name]])
            lengths = json.loads(maker.receive())
            self.bounds[name] = peak * len(lengths) / sum(
                flops_per_text(config, tokens) for tokens in lengths)
        if self.options.texts:
            self.texts["recorded"], self.bounds["recorded"] = self.folder / "recorded", None
            lines = self.options.texts.read_text(encoding="utf-8").splitlines()
            self.texts["recorded"].write_text(
                "".join(line + "\n" for line in dict.fromkeys(lines) if line), encoding="utf-8")

    def start_peer(self, stack, variant):
        return Http(stack, self.folder, self.peer_python, self.graph, self.model, variant,
                    self.threads)

    def verify(self):
        for name, texts in self.texts.items():
            ours = array.array("f", expected_of(texts).read_bytes())
            for peer in self.peers:
                theirs, width = peer.vectors(texts, VERIFIED_TEXTS)
                worst = least_cosine(ours[:len(theirs)], theirs, width)
                if not worst >= COSINE_MIN:  # NaN fails, too
                    raise Failed(f"{peer.name}: cosine {worst:.7f} to ours, {name} texts")
                print(f"verified: {len(theirs) // width} {name} texts, {peer.name}: cosine to ours "
                      f">= {worst:.7f}", flush=True)

    # --- measuring ---

    def run_together(self, asked):
        """[(server, texts, load, more for the generator)] -> their reports; all begin together."""
        with ExitStack() as stack:
            generators = [Generator(stack, server, texts, load, **more)
                          for server, texts, load, more in asked]
            time.sleep(SETTLE_S)
            servers = {id(server): server for server, *_ in asked}.values()
            before = sum(server.cpu_ns() for server in servers)
            start = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + LEAD_NS
            for generator in generators:
                generator.go(start)
            reports = [generator.report() for generator in generators]
            used = sum(server.cpu_ns() for server in servers) - before
        for report in reports:
            report["server_cpu_s"] = used / 1e9
            self.generator_cpu = max(self.generator_cpu, report["generator"]["cpu_s"]
                                     / report["generator"]["wall_s"])
        return reports

    generator_cpu = 0.0  # the most CPUs that one generator used, in this part

    def run(self, server, texts, load):
        return self.run_together([(server, texts, load, {})])[0]

    def race(self, texts, load):
        """{server: [report of each turn]}, ours and the peers in turn."""
        servers = [self.ours, *self.peers]
        reports = {server: [] for server in servers}
        for _ in range(self.turns):
            for server in servers:
                server.go_on()
                reports[server].append(self.run(server, texts, load))
                server.stop()
        self.ours.go_on()
        return reports

    def option(self, name):
        return self.ours.option(name)

    # --- telling ---

    def add(self, case, unit, ours, peer, peer_name, bound, less_is_better):
        if not self.rows:
            rows.print_header()
        self.rows.append(rows.row("serve", case, unit, ours, peer, peer_name, bound, "FMA peak",
                                  less_is_better))
        rows.print_row(self.rows[-1])
        self.write()
        return self.rows[-1]

    def goal(self, made):
        self.goals.append(made)
        print("    goal: " + made.line(), flush=True)
        self.write()

    def keep(self, record):
        """Goes into the file as it is: more than a row can say."""
        self.kept.append({"bench": "serve", **record})
        self.write()

    def write(self):  # after each, since a whole run takes long
        if self.options.json:
            rows.write(self.options.json, [one | self.about for one in (
                *self.rows, *self.kept, *(made.row("serve") for made in self.goals))])


def run(options):
    parts = chosen(options.only)
    if not parts:
        raise Failed(f"no part has \"{options.only}\" in its name; there are {', '.join(PARTS)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CPUS])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nacelle-bench-")))
        bench = Bench(options, stack, folder)
        print(f"CPUs {bench.threads}, load {os.getloadavg()[0]:.2f}", flush=True)
        bench.keep({"case": "peer's packages", "versions": versions_of(bench.peer_python)})
        print("choosing the peers' set-up:", flush=True)
        variants = choose_peers(bench)
        bench.peers = [bench.start_peer(stack, variant) for variant in variants]
        bench.verify()
        for peer in bench.peers:
            peer.stop()
        for name in parts:
            print(f"\n{name}", flush=True)
            bench.generator_cpu = 0.0
            PARTS[name](bench)
            print(f"    the generator used {bench.generator_cpu:.2f} CPUs at most", flush=True)
        print("\ngoals", flush=True)
        for made in bench.goals:
            print(made.line(), flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./run bench serve", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short turn of each")
    parser.add_argument("--only", metavar="TEXT", default="",
                        help=f"the parts whose name contains it: {', '.join(PARTS)}")
    parser.add_argument("--texts", metavar="FILE", type=Path,
                        help="recorded texts, one a line, as a third kind beside short and mix")
    parser.add_argument("--json", metavar="FILE", default=None,
                        help=f"where to write rows and goals; {RESULTS.relative_to(ROOT)} by "
                             "default for a whole run")
    options = parser.parse_args()
    if options.json is None and not (options.quick or options.only):
        options.json = RESULTS
    try:
        run(options)
    except (Failed, OSError) as error:
        sys.exit(f"bench serve: {error}")


if __name__ == "__main__":
    main()
