#!/usr/bin/env python3
"""Texts per second to ids, beside Hugging Face's tokenizers on one core.

    ./run bench tokenizers [--quick] [--json FILE] [--only TEXT] [--files FILE_OR_FOLDER...]

One row per tokenizer.json: those of --files, or of the optional assets (NACELLE_ASSETS), or the
small ones of tests/data. The texts are Korean reviews and English lines, one at a time for us. The
peer takes the fastest of encode(), encode_batch() and encode_batch_fast(), on one thread; its time
is its process's CPU time, ours our thread's. All ids are compared before anything is timed; runs of
both alternate. The peer's package goes to build/peers/tokenizers.
"""

import argparse
import json
import os
import struct
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
sys.path.insert(0, str(BENCH / "support"))

import rows  # noqa: E402
from peers import environment  # noqa: E402
from processes import BUILD, Answering, Failed  # noqa: E402

PYTHON = os.environ.get("NACELLE_PYTHON", sys.executable)
PEER = ROOT / "build/peers/tokenizers"
PEER_PACKAGES = ["tokenizers==0.23.3"]
ASSETS = Path(os.environ.get("NACELLE_ASSETS", ROOT.parent / "shared/assets"))
DATA = ROOT / "tests/data"
ENGLISH = ["The movie is really good, isn't it?", "I would watch it again, but not before 2025.",
           "A slow start; the second half makes up for it.", "What a waste of 120 minutes!"]


def texts(count):
    full = ASSETS / "datasets/nsmc/nsmc_test.tsv"
    source = full if full.exists() else DATA / "nsmc_test_sample.tsv"
    lines = source.read_text(encoding="utf-8").split("\n")[1:]
    reviews = [line.split("\t")[1] for line in lines if line.count("\t") >= 1]
    mixed = [text for i, review in enumerate(reviews)
             for text in ([review, ENGLISH[i % len(ENGLISH)]] if i % 10 == 0 else [review])]
    return mixed[:count]


def files(folder, chosen):
    """(name, tokenizer.json) of each"""
    if chosen:
        found = [f for p in chosen for f in (sorted(p.rglob("tokenizer.json")) if p.is_dir() else [p])]
    else:
        found = sorted(ASSETS.rglob("tokenizer.json"))
    if found:
        return [(f.parent.name, f) for f in found]
    print("no real tokenizer files here: small ones of the tests", flush=True)
    small = []
    for golden in sorted((DATA / "tokenizers/families").glob("*.json")):
        path = folder / golden.name
        path.write_text(json.dumps(json.loads(golden.read_text())["tokenizer"]))
        small.append((golden.stem, path))
    return small


def measure(stack, folder, python, name, file, source, options):
    ours = Answering(stack, "tokenizers_timer", [BUILD / "bin/tokenizers_timer", file, source])
    peer = Answering(stack, "tokenizers", [python, BENCH / "peers/tokenizers_encode.py", file, source])
    mine, theirs = folder / "ours", folder / "theirs"
    ours.ask("ids", mine)
    peer.ask("ids", theirs)
    if mine.read_bytes() != theirs.read_bytes():
        raise Failed(f"{file}: the ids differ; tests/golden/compare_tokenizers.py shows where")
    times = {way: float(peer.ask(way)) for way in ("one", "batch", "fast")}
    best = min(times, key=times.get)
    ours.ask("time")
    mine_s, theirs_s = [], []
    for _ in range(3 if options.quick else 7):
        mine_s.append(float(ours.ask("time").split()[0]))
        theirs_s.append(float(peer.ask(best)))
    way = {"one": "encode", "batch": "encode_batch", "fast": "encode_batch_fast"}[best]
    count = options.count
    return rows.row("tokenizers", name, "texts/s", [count / s for s in mine_s],
                    [count / s for s in theirs_s], f"tokenizers 0.23.3 {way}", None, "", False)


def run(options):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nacelle-bench-")))
        python = environment(PEER, PEER_PACKAGES, PYTHON)
        source = folder / "texts"
        chosen = [text.encode() for text in texts(2000 if options.quick else 9000)]
        options.count = len(chosen)
        source.write_bytes(b"".join(struct.pack("<I", len(text)) + text for text in chosen))
        print(f"{len(chosen)} texts, {sum(map(len, chosen))} bytes, load {os.getloadavg()[0]:.2f}")
        rows.print_header()
        result = []
        for name, file in files(folder, options.files):
            if options.only not in name:
                continue
            with ExitStack() as one:
                result.append(measure(one, folder, python, name, file, source, options))
            rows.print_row(result[-1])
        if options.json:
            rows.write(options.json, result)


def main():
    parser = argparse.ArgumentParser(prog="./run bench tokenizers", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer texts and runs")
    parser.add_argument("--json", metavar="FILE", help="also write a JSON object per row")
    parser.add_argument("--only", metavar="TEXT", default="", help="files whose name contains it")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="instead of the assets'")
    try:
        run(parser.parse_args())
    except (Failed, OSError) as error:
        sys.exit(f"bench tokenizers: {error}")


if __name__ == "__main__":
    main()
