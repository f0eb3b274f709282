#!/usr/bin/env python3
"""Sentences per second and latency of encoders on the CPU, beside the engines that people use.

    ./run bench encode [--quick] [--only REGEX] [--avx2] [--json FILE]

Ours is a client process that sends strings to nacelled and receives vectors. The peers (ONNX
Runtime, PyTorch plain and compiled, CTranslate2) get token ids that are made beforehand and run in a
process of their own, so tokenizing and transport are on our side only; sentence-transformers gets
strings, as its users give them. Every engine is measured at every batch size and shown at its best.
A mix has log-normal lengths (mean 0.35 of 512): peers get texts of like length together, padded;
ours gets them in any order.

Every engine's vectors are compared with ONNX Runtime's fp32 ones before anything is timed. Engines
take turns; all numbers are medians over the turns. "bound" is the most that the machine's measured
peak of that precision allows for the products alone.

With --avx2 every engine is held to what a processor with AVX2 alone has. ONNX Runtime cannot be
told so: it is not timed then, nor is there a bound.

Models: all-MiniLM-L6-v2 when it is to be had, and the shape of BERT-base with random weights.
Peers' packages go to build/peers/encode: some gigabytes, which nothing else needs.
"""

import argparse
import array
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path.insert(0, str(BENCH / "support"))

import rows  # noqa: E402
from encoders import find_minilm, flops_per_text, least_cosine  # noqa: E402
from machine import about  # noqa: E402
from peers import environment, is_newer  # noqa: E402
from peers import run as run_program  # noqa: E402
from processes import BUILD, Answering, Failed, Process, start_sidecar  # noqa: E402

PYTHON = os.environ.get("NACELLE_PYTHON", sys.executable)
PEERS = ROOT / "build/peers/encode"
PACKAGES = ["onnxruntime==1.23.2", "onnx", "numpy", "safetensors", "tokenizers", "torch",
            "transformers", "sentence-transformers", "ctranslate2", "sympy"]

LENGTHS = [16, 32, 128, 512, 0]  # tokens per text, special ones included; 0: the mix
MIX_MEAN = 0.35 * 512
BATCHES = [1, 8, 32, 64]
THREADS = [2, 1]
# Texts of one measurement, and about as many tokens: what BERT-base computes in a few seconds on one core.
# Larger calls would gain nobody anything: every engine is at its best in smaller ones.
TEXTS_MAX = 64
TOKENS_MAX = 4096
# Against fp32: what counts as the same computation. Int8 loses more, and each engine its own way.
COSINE_MIN = {"fp32": 0.99999, "bf16": 0.998, "int8": 0.97}
SETTLE_S = 0.05
AVX2_ONLY = {"ONEDNN_MAX_CPU_ISA": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2", "CT2_FORCE_CPU_ISA": "AVX2",
             "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


class PeerKind(NamedTuple):
    kind: str
    precision: str
    models: tuple = ("minilm", "bert-base")
    threads: tuple = tuple(THREADS)
    quick: bool = True


PEER_KINDS = [
    PeerKind("onnxruntime", "fp32"),
    PeerKind("ctranslate2", "fp32"),
    PeerKind("torch", "fp32"),
    # Compiling takes longer than all measurements: with two threads only.
    PeerKind("torch.compile", "fp32", threads=(2,), quick=False),
    PeerKind("torch", "bf16"),
    PeerKind("torch.compile", "bf16", threads=(2,), quick=False),
    PeerKind("onnxruntime", "int8"),
    PeerKind("ctranslate2", "int8"),
    PeerKind("sentence-transformers", "fp32", models=("minilm",)),
]


def find_models(python):
    """{name: folder}: MiniLM where it is to be had, and BERT-base made beside it."""
    minilm = find_minilm(PYTHON)
    if minilm is None:
        raise Failed("all-MiniLM-L6-v2, whose tokenizer all models here use, is not to be had")
    base = PEERS / "models/bert-base"
    maker = BENCH / "peers/make_bert_base.py"
    if not is_newer(base / "model.safetensors", maker):
        run_program(python, maker, minilm, base)
    models = {"minilm": minilm, "bert-base": base}
    for name, folder in models.items():
        graph = PEERS / "models" / f"{folder.name}.onnx"
        if not is_newer(graph, BENCH / "peers/bert_onnx.py", folder / "model.safetensors"):
            run_program(python, BENCH / "peers/bert_onnx.py", folder, graph)
        quantized = PEERS / "models" / f"{name}.int8"
        if not is_newer(quantized / "model.safetensors", folder / "model.safetensors"):
            shutil.rmtree(quantized, ignore_errors=True)
            inputs = PEERS / "models/inputs"
            inputs.write_text("".join(f"{line} {i}\n" for i in range(60) for line in (
                ROOT / "tests/demo/sentences.txt").read_text().splitlines() * 2 if line))
            run_program(BUILD / "bin/nacellectl", "quantize", folder, quantized, "int8", inputs)
    return models


class Peer(Process):
    def __init__(self, stack, python, kind, folder, threads):
        super().__init__(stack, f"{kind.kind} {kind.precision}",
                         [python, BENCH / "peers/encode_peer.py", kind.kind, kind.precision, folder,
                          PEERS / "models", str(threads)])
        self.version = json.loads(self.receive())["version"]
        self.label = f"{kind.kind} {self.version} {kind.precision}"

    def ask(self, **arguments):
        self.send(json.dumps(arguments))
        return json.loads(self.receive())

    def vectors(self, path, batch):
        return self.ask(vectors=str(path), batch=batch)["width"]

    def measure(self, seconds, batch):
        return self.ask(seconds=seconds, batch=batch)


class Ours(Answering):
    """skeleton_client.cc, whose calls have as many texts as a peer's batch."""

    def __init__(self, stack, socket, service, threads):
        super().__init__(stack, "skeleton_client",
                         [BUILD / "bin/skeleton_client", socket, f"{service}-{threads}"])
        self.service = service
        self.is_mix = False
        self.label = f"Nacelle {service}"

    def load(self, path, is_mix):
        self.ask("texts", path)
        self.is_mix = is_mix  # then only whole rounds over the texts are timed, as the peers do

    def vectors(self, path, batch):
        return int(self.ask("vectors", self.service, batch, path).split()[0])

    def measure(self, seconds, batch):
        words = self.ask("embed", self.service, batch, round(seconds * 1000), 0,
                         *["whole"] * self.is_mix).split()
        texts, begin, end = map(int, words[:3])
        return {"rate": texts / (end - begin) * 1e9, "p50_us": float(words[8]),
                "p99_us": float(words[9])}


class Bench:
    def __init__(self, options, stack, folder, python, models):
        self.options, self.stack, self.folder = options, stack, folder
        self.python, self.models = python, models
        self.rows = []
        self.peaks = {}

    def wants(self, case):
        return re.search(self.options.only, case) is not None

    def case(self, model, precision, threads, length):
        return (f"{model} {precision} {length or 'mix'} tokens, {threads} thread"
                + "s" * (threads > 1) + ", AVX2" * self.options.avx2)

    def run(self):
        for threads in [2] if self.options.quick else THREADS:
            for model, folder in self.models.items():
                cases = [self.case(model, precision, threads, length) for length in LENGTHS
                         for precision in COSINE_MIN]
                if any(map(self.wants, cases)):
                    with ExitStack() as stack:
                        self.model(stack, model, folder, threads)

    def model(self, stack, model, folder, threads):
        services = {precision: {"model": folder, "precision": precision}
                    for precision in ("fp32", "bf16")}
        services["int8"] = {"model": PEERS / "models" / f"{model}.int8"}
        options = [f"--kernels.threads={threads}"]
        if self.options.avx2:
            options.append("--kernels.backend=cpu/avx2")
        _, socket = start_sidecar(stack, self.folder / f"{model}-{threads}", services, options)
        ours = {precision: Ours(stack, socket, precision, threads) for precision in COSINE_MIN}
        peers = {kind: Peer(stack, self.python, kind, folder, threads) for kind in PEER_KINDS
                 if model in kind.models and threads in kind.threads
                 and (kind.quick or not self.options.quick)}
        reference = next(iter(peers.values()))
        config = json.loads((folder / "config.json").read_text())
        for length in LENGTHS:
            wanted = [precision for precision in COSINE_MIN
                      if self.wants(self.case(model, precision, threads, length))]
            if not wanted or (self.options.quick and length in (16, 512)):
                continue
            texts = self.folder / f"texts-{model}-{length}"
            wanted_texts = min(TEXTS_MAX, TOKENS_MAX / (length or MIX_MEAN))
            texts_max = min(batch for batch in BATCHES if batch >= wanted_texts)
            if not texts.exists():
                reference.ask(make=str(texts), words=str(ROOT / "tests/demo/sentences.txt"),
                              length=length, count=texts_max)
            count = reference.ask(texts=str(texts))
            # Each shape is compiled anew: a mix would take hours.
            raced = {kind: peer for kind, peer in peers.items()
                     if length or kind.kind != "torch.compile"}
            engines = [ours[precision] for precision in wanted] + [
                peer for kind, peer in raced.items() if kind.precision in wanted]
            for engine in engines:
                if isinstance(engine, Ours):
                    engine.load(texts, length == 0)
                else:
                    engine.ask(texts=str(texts))
            self.verify(reference, ours, raced, wanted, length)
            flops = flops_per_text(config, count["tokens"] / count["count"])
            self.measure_peaks(ours, threads)
            batches = [batch for batch in BATCHES if batch <= texts_max]
            self.race(model, threads, length, ours, raced, wanted, flops, batches)

    def measure_peaks(self, ours, threads):
        """The best of all attempts so far: a machine's peak is what it can do undisturbed."""
        if self.options.avx2:
            return
        peaks = self.peaks.setdefault(threads, {})
        for precision, engine in ours.items():
            now = float(engine.ask("peak", threads, precision))
            peaks[precision] = max(peaks.get(precision, 0), now)

    def verify(self, reference, ours, peers, wanted, length):
        expected = self.folder / "expected"
        width = reference.vectors(expected, 8)
        engines = [(precision, ours[precision]) for precision in wanted] + [
            (kind.precision, peer) for kind, peer in peers.items() if kind.precision in wanted]
        said = []
        for precision, engine in engines:
            got = self.folder / "got"
            engine.vectors(got, 8)
            sides = [array.array("f", path.read_bytes()) for path in (expected, got)]
            if len(sides[0]) != len(sides[1]):
                raise Failed(f"{engine.label}: {len(sides[1])} floats instead of {len(sides[0])}")
            worst = least_cosine(*sides, width)
            said.append(f"{engine.label} {worst:.6f}")
            if not worst >= COSINE_MIN[precision]:  # NaN fails, too
                raise Failed(f"{engine.label}: cosine {worst:.6f} to {reference.label} with texts "
                             f"of {length or 'mixed'} tokens")
        print(f"verified, least cosine to {reference.label}: {'; '.join(said)}", flush=True)

    def race(self, model, threads, length, ours, peers, wanted, flops, batches):
        turns, seconds = (2, 0.3 if self.options.quick else 0.5)
        for precision in wanted:
            case = self.case(model, precision, threads, length)
            engines = [ours[precision]] + [
                peer for kind, peer in peers.items() if kind.precision == precision
                and not (self.options.avx2 and kind.kind == "onnxruntime")]
            if len(engines) == 1:
                continue
            peak = self.peaks.get(threads, {}).get(precision)  # GFLOP/s
            measured = {(engine, batch): [] for engine in engines for batch in batches}
            for _ in range(turns):
                for engine, batch in measured:
                    time.sleep(SETTLE_S)
                    measured[engine, batch].append(engine.measure(seconds, batch))

            def rate(engine, batch, measured=measured):
                return statistics.median(one["rate"] for one in measured[engine, batch])

            best = {engine: max(batches, key=lambda batch, engine=engine: rate(engine, batch))
                    for engine in engines}
            # sentence-transformers starts from strings: shown, but the best peer is a faster one.
            peer = max(engines[1:], key=lambda engine: rate(engine, best[engine]))
            self.add(case, "texts/s", engines[0], best[engines[0]], peer, best[peer], measured,
                     "rate", peak and peak * 1e9 / flops)
            if length:
                quick = min(engines[1:], key=lambda engine: statistics.median(
                    one["p50_us"] for one in measured[engine, 1]))
                self.add(case + ", one text", "us", engines[0], 1, quick, 1, measured, "p50_us",
                         peak and flops / peak / 1e3)
            for engine in engines:
                print(f"    {engine.label:<34}" + "".join(
                    f"  {batch}: {rate(engine, batch):.1f}/s" for batch in batches), flush=True)

    def add(self, case, unit, ours, our_batch, peer, peer_batch, measured, value, bound):
        if not self.rows:
            rows.print_header()
        self.rows.append({**rows.row(
            "encode", case, unit, [one[value] for one in measured[ours, our_batch]],
            [one[value] for one in measured[peer, peer_batch]],
            f"{peer.label}, batches of {peer_batch}", bound, "peak", value != "rate"), **about()})
        rows.print_row(self.rows[-1])
        if self.options.json:  # after each, since a whole run takes long
            rows.write(self.options.json, self.rows)
        if value == "rate" and bound:
            share = self.rows[-1]["ours"] / bound
            print(f"    ours in calls of {our_batch}: {share:.1%} of the peak for the products alone",
                  flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./run bench encode", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer lengths, engines and turns")
    parser.add_argument("--json", metavar="FILE", help="also write a JSON object per row")
    parser.add_argument("--only", metavar="REGEX", default="",
                        help='only the cases in whose name it is found, as "minilm int8 (32|128) "')
    parser.add_argument("--avx2", action="store_true", help="hold every engine to AVX2")
    options = parser.parse_args()
    if options.avx2:
        os.environ.update(AVX2_ONLY)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nacelle-bench-")))
            python = environment(PEERS, PACKAGES, PYTHON)
            (PEERS / "models").mkdir(exist_ok=True)
            bench = Bench(options, stack, folder, python, find_models(python))
            print(f"CPUs {len(os.sched_getaffinity(0))}, load {os.getloadavg()[0]:.2f}", flush=True)
            bench.run()
    except (Failed, OSError) as error:
        sys.exit(f"bench encode: {error}")


if __name__ == "__main__":
    main()
