"""An application process of the demo, as a Python worker would be written.

usage: demo_app.py NAME EMBED_SERVICE REVIEWS SENTENCES ROUNDS SHOWN

Classifies every review on its own, ROUNDS times over; embeds all sentences in one call; prints
labels (three, from review SHOWN on), nearest sentences, latencies and its own memory. Then it
writes a line to descriptor 3 and stays connected until its standard input ends.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

import nacelle


def memory_mb() -> tuple[float, float]:
    """This process's memory, and the shared pages that it touched, in MB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, file, shared = (float(status[key].split()[0]) / 1024 for key in ("RssAnon", "RssFile", "RssShmem"))
    return own + file, shared


def main() -> None:
    name, embed_service, reviews_path, sentences_path, rounds, first = sys.argv[1:]
    shown = int(first)
    reviews = Path(reviews_path).read_text(encoding="utf-8").splitlines()
    sentences = Path(sentences_path).read_text(encoding="utf-8").splitlines()
    engine = nacelle.connect(name=name)

    latencies, labels = [], []
    batch_texts = batch_clients = 0
    for _ in range(int(rounds)):
        labels = []
        for review in reviews:
            start = time.perf_counter()
            answer, report = engine.classify("sentiment", review, report=True)
            latencies.append((time.perf_counter() - start) * 1e3)
            labels.append(answer)
            batch_texts = max(batch_texts, report.batch_texts)
            batch_clients = max(batch_clients, report.batch_clients)

    start = time.perf_counter()
    vectors = engine.embed(embed_service, sentences)
    embed_ms = (time.perf_counter() - start) * 1e3
    alike = vectors @ vectors.T - 2 * np.eye(len(sentences), dtype=np.float32)

    print(f"{name} (Python)")
    for review, answer in list(zip(reviews, labels))[shown : shown + 3]:
        print(f"  {answer.label:8} {answer.score:.3f}  {review}")
    for i in (shown // 2, shown // 2 + 1):
        nearest = int(alike[i].argmax())
        print(f"  nearest to  {sentences[i]}\n       {alike[i, nearest]:.3f}  {sentences[nearest]}")
    p50, p99 = np.percentile(latencies, [50, 99])
    print(f"  calls       {len(latencies)} single classify calls: p50 {p50:.2f} ms, p99 {p99:.2f} ms; "
          f"{len(sentences)} sentences embedded in {embed_ms:.1f} ms")
    print(f"  batches     up to {batch_texts} texts of {batch_clients} processes ran together")
    own, shared = memory_mb()
    print(f"  memory      {own:.1f} MB, and {shared:.1f} MB shared with the sidecar", flush=True)
    os.write(3, b"done\n")
    sys.stdin.read()


main()
