"""A client of bench/transport.py: one text to embed through the Python package, again and again.

    python_embed.py SOCKET SERVICE TEXT

Reads "run MS" and answers "ok" with JSON: the number of calls and the median of their nanoseconds.
"""

import json
import statistics
import sys
import time

import nacelle
import numpy


def main():
    socket, service, text = sys.argv[1:]
    with nacelle.connect(socket) as engine:
        first = engine.embed(service, text)
        for line in sys.stdin:
            stop = time.perf_counter_ns() + int(line.split()[1]) * 1_000_000
            times = []
            now = 0
            while now < stop:
                begin = time.perf_counter_ns()
                vector = engine.embed(service, text)
                now = time.perf_counter_ns()
                times.append(now - begin)
                if not numpy.array_equal(vector, first):
                    print("error another vector for the same text", flush=True)
                    return
            print("ok", json.dumps({"count": len(times), "p50": statistics.median(times)}),
                  flush=True)


if __name__ == "__main__":
    main()
