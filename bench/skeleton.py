#!/usr/bin/env python3
"""The first numbers: a round trip of nothing, and MiniLM's texts per second through the sidecar.

    ./run bench skeleton [--quick] [--json FILE] [--only TEXT]

"round trip": nacelle::Client::ping with 64 bytes, beside a blocking Unix socket, and above what two
cores need to pass one cache line to and fro.

"MiniLM": 1 and 4 client processes (a thread, a connection and one call at a time each) send strings
and receive vectors, on the same CPUs as the sidecar. Beside them ONNX Runtime in a process of its
own: the graph fully fused, fp32, as many threads as there are CPUs, from token ids that are made
beforehand (so the peer does not tokenize, and nothing leaves its process), no padding. Both sides
take the best of the same numbers of texts per call. All vectors are compared before anything is
timed; ours and the peer's runs alternate.

bench/peers makes the peer's graph; its packages go to build/peers/skeleton.
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
sys.path.insert(0, str(BENCH / "support"))

import rows  # noqa: E402
from encoders import find_minilm, flops_per_text, least_cosine  # noqa: E402
from peers import environment, is_newer  # noqa: E402
from peers import run as run_program  # noqa: E402
from processes import BUILD, Answering, Failed, Process, start_sidecar  # noqa: E402

PYTHON = os.environ.get("NACELLE_PYTHON", sys.executable)
PEER = ROOT / "build/peers/skeleton"
PEER_PACKAGES = ["onnxruntime==1.23.2", "onnx", "numpy", "safetensors", "tokenizers"]

CLIENTS = [1, 4]
LENGTHS = [32, 128]         # tokens per text, [CLS] and [SEP] included
TEXTS = 256                 # different ones of each length; a multiple of everything in CALL_TEXTS
CALL_TEXTS = [8, 32, 64]    # per call of a client, and per batch of the peer: what is tried
TEXTS_QUICK = 64
CALL_TEXTS_QUICK = [8, 32]
COSINE_MIN = 0.9999         # of each vector to the peer's
REFERENCE_MIN = 0.99999     # of the peer's to the recorded ones
SETTLE_S = 0.05             # before each measurement: the other side's threads may spin on


class Client(Answering):
    """skeleton_client.cc"""

    def ask(self, *words):
        return super().ask(*words).split()


class Peer(Process):
    """peers/onnxruntime_embed.py"""

    def ask(self, **arguments):
        self.send(json.dumps(arguments))
        return json.loads(self.receive())


def prepare_peer(model):
    """Makes the peer's environment and graph, once; the graph's file."""
    python = environment(PEER, PEER_PACKAGES, PYTHON)
    graph = PEER / "minilm.onnx"
    maker = BENCH / "peers/bert_onnx.py"
    if not is_newer(graph, maker, model / "model.safetensors"):
        run_program(python, maker, model, graph)
    return graph


class Bench:
    def __init__(self, options, stack, folder):
        self.options = options
        self.stack = stack
        self.folder = folder
        self.rows = []
        self.texts = TEXTS_QUICK if options.quick else TEXTS
        self.cpus = sorted(os.sched_getaffinity(0))
        self.peak = 0  # GFLOP/s: the most seen, since whatever else runs here only lowers it

    def wants(self, case):
        return self.options.only in case

    def add(self, case, unit, ours, peer, peer_name, bound, bound_name, less_is_better):
        if not self.rows:
            rows.print_header()
        self.rows.append(rows.row("skeleton", case, unit, ours, peer, peer_name, bound, bound_name,
                                  less_is_better))
        rows.print_row(self.rows[-1])

    def round_trips(self, client):
        cases = ["round trip 64 B, p50", "round trip 64 B, p99"]
        if not any(map(self.wants, cases)):
            return
        count, runs = (10_000, 5) if self.options.quick else (50_000, 9)
        ours, peer, floor = [], [], []
        client.ask("ping", count // 10)
        client.ask("socket", count // 10)
        for _ in range(runs):
            ours.append(client.ask("ping", count))
            peer.append(client.ask("socket", count))
            if len(self.cpus) > 1:
                floor.append(client.ask("floor", count, *self.cpus[:2]))
        for at, case in enumerate(cases):
            if self.wants(case):
                us = [[int(run[at]) / 1e3 for run in side] for side in (ours, peer, floor)]
                self.add(case, "us", us[0], us[1], "blocking Unix socket",
                         sorted(us[2])[len(us[2]) // 2] if us[2] else None,
                         "a cache line between two cores", less_is_better=True)

    def embeddings(self, clients, model):
        if not any(self.wants(self.case(length, count)) for length in LENGTHS for count in CLIENTS):
            return
        graph = prepare_peer(model)
        self.peer = Peer(self.stack, "onnxruntime_embed.py",
                         [PEER / "bin/python", BENCH / "peers/onnxruntime_embed.py", graph, model,
                          str(len(self.cpus))])
        self.peer_version = json.loads(self.peer.receive())["version"]
        reference = model / "reference_embeddings.json"
        if reference.exists():
            cosine = self.peer.ask(reference=str(reference))["cosine"]
            print(f"the peer's vectors and the recorded ones: cosine >= {cosine:.7f}")
            if not cosine >= REFERENCE_MIN:
                raise Failed("the peer does not compute this model")
        config = json.loads((model / "config.json").read_text())
        for length in LENGTHS:
            texts = self.folder / f"texts-{length}"
            self.peer.ask(make=str(texts), words=str(ROOT / "tests/demo/sentences.txt"),
                          length=length, count=self.texts)
            self.peer.ask(texts=str(texts))
            for client in clients:
                client.ask("texts", texts)
            self.verify(clients[0], length)
            self.race(clients, length, flops_per_text(config, length))

    def verify(self, client, length):
        """Every vector of ours against the peer's."""
        paths = [self.folder / "ours", self.folder / "theirs"]
        widths = [int(client.ask("vectors", "minilm", CALL_TEXTS[0], paths[0])[0]),
                  self.peer.ask(vectors=str(paths[1]), batch=CALL_TEXTS[0])["width"]]
        sides = [array.array("f", path.read_bytes()) for path in paths]
        width = widths[0]
        if widths[1] != width or any(len(side) != self.texts * width for side in sides):
            raise Failed(f"{self.texts} vectors of {widths} floats: "
                         f"{[len(side) for side in sides]} floats in all")
        worst = least_cosine(*sides, width)
        if not worst >= COSINE_MIN:  # NaN fails, too
            raise Failed(f"texts of {length} tokens: cosine {worst:.6f} to the peer's vector")
        print(f"{self.texts} texts of {length} tokens: ours and the peer's, cosine >= {worst:.7f}")

    @staticmethod
    def case(length, count):
        return f"MiniLM {length} tokens, {count} client{'s' if count > 1 else ''}"

    def race(self, clients, length, flops):
        runs, probe_s, run_s = (3, 0.3, 0.8) if self.options.quick else (7, 1.5, 3.0)
        tried = CALL_TEXTS_QUICK if self.options.quick else CALL_TEXTS
        counts = [count for count in CLIENTS if self.wants(self.case(length, count))]
        if not counts:
            return
        call_texts = {count: max(tried, key=lambda n, count=count: self.ours(
            clients[:count], n, probe_s)["rate"]) for count in counts}
        batch = max(tried, key=lambda n: self.theirs(n, probe_s))
        ours = {count: [] for count in counts}
        peer = []
        for _ in range(runs):
            for count in counts:
                ours[count].append(self.ours(clients[:count], call_texts[count], run_s))
            peer.append(self.theirs(batch, run_s))
            self.peak = max(self.peak, float(clients[0].ask("peak", len(self.cpus))[0]))
        for count in counts:
            measured = ours[count]
            self.add(self.case(length, count), "texts/s", [one["rate"] for one in measured], peer,
                     f"ONNX Runtime {self.peer_version} fp32, batches of {batch}",
                     self.peak * 1e9 / flops, "FMA peak, fp32", less_is_better=False)
            explain(call_texts[count], sorted(measured, key=lambda one: one["rate"])[runs // 2])

    def theirs(self, batch, seconds):
        time.sleep(SETTLE_S)
        return self.peer.ask(seconds=seconds, batch=batch)["rate"]

    def ours(self, clients, call_texts, seconds):
        """Texts per second from the first client's start to the last one's end, and means."""
        time.sleep(SETTLE_S)
        for at, client in enumerate(clients):
            first = self.texts // len(clients) * at // call_texts * call_texts
            client.send(f"embed minilm {call_texts} {round(seconds * 1000)} {first}")
        answers = [[float(word) for word in client.answer().split()] for client in clients]
        texts, begins, ends, *means = zip(*(answer[:8] for answer in answers))
        means = [sum(values) / len(values) for values in means]
        names = ["call_us", "queue_us", "compute_us", "batch_texts", "batch_clients"]
        return {"rate": sum(texts) / (max(ends) - min(begins)) * 1e9, **dict(zip(names, means))}


def explain(call_texts, measured):
    """Where the time of the median run's calls went."""
    call = measured["call_us"]
    rest = call - measured["queue_us"] - measured["compute_us"]
    print(f"    calls of {call_texts} texts take {call / 1000:.2f} ms: "
          f"{measured['compute_us'] / call:.1%} compute, {measured['queue_us'] / call:.1%} queue, "
          f"{rest / call:.1%} tokenizing and transport; "
          f"{measured['batch_texts']:.0f} texts of {measured['batch_clients']:.1f} clients a batch",
          flush=True)


def run(options):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nacelle-bench-")))
        model = find_minilm(PYTHON)
        if model is None:
            print("all-MiniLM-L6-v2 is not to be had: round trips only", flush=True)
        services = ({"minilm": model} if model
                    else {"sentiment": ROOT / "tests/data/nsmc-bert-ko"})
        _, socket = start_sidecar(stack, folder, services)
        clients = [Client(stack, "skeleton_client",
                          [BUILD / "bin/skeleton_client", socket, f"bench-{i}"])
                   for i in range(max(CLIENTS))]
        bench = Bench(options, stack, folder)
        print(f"CPUs {len(bench.cpus)}, load {os.getloadavg()[0]:.2f}", flush=True)
        bench.round_trips(clients[0])
        if model is not None:
            bench.embeddings(clients, model)
        if options.json:
            rows.write(options.json, bench.rows)


def main():
    parser = argparse.ArgumentParser(prog="./run bench skeleton", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs: under a minute")
    parser.add_argument("--json", metavar="FILE", help="also write a JSON object per row")
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="only the cases whose name contains it")
    try:
        run(parser.parse_args())
    except (Failed, OSError) as error:
        sys.exit(f"bench skeleton: {error}")


if __name__ == "__main__":
    main()
