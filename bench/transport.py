#!/usr/bin/env python3
"""The transport beside its peers: a null op of 64 bytes, answered with 1 KiB or 64 KiB.

    ./run bench transport [--quick] [--only TEXT] [--json FILE]

Every way of asking has a server and a client in processes of their own, pinned alike, with the same
bytes both ways; every reply is verified before anything is timed, and checked while it is. Ways
are measured in turns, so that a slow spell of the machine meets all of them; what is shown are
medians over the turns, and the longest stall of all. docs/benchmarks/transport.md tells how to read
it. --only picks the parts whose name contains TEXT: two cores, one core, open loop, processes, one
way, idle, quota, python.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

BENCH = Path(__file__).resolve().parent
sys.path += [str(BENCH / "support"), str(BENCH / "transport")]

import machine  # noqa: E402
import rows  # noqa: E402
from contenders import SERVICES, WAYS, Server, absent, program  # noqa: E402
from goals import at_least, at_most  # noqa: E402
from processes import BUILD, Answering, CpuQuota, Failed, cpu_ns  # noqa: E402

PYTHON = os.environ.get("NACELLE_PYTHON", sys.executable)
KIB = 1024
SIZES = [KIB, 64 * KIB]      # of replies
PROCESSES = [1, 4, 16]
OPEN_INTERVAL_NS = 200_000   # between two calls of the open loop
IDLE_CLIENTS = 64
TEXT = "정말 재미있는 영화였어요"


def size_name(size):
    return f"64 B -> {size // KIB} KiB"


def us(nanoseconds):
    return nanoseconds / 1e3


def median(results, field):
    return statistics.median(result[field] for result in results)


def ratio(above, below, field="p50"):
    """The median of each turn's ratio: a virtual machine's CPUs may be near or far from each other
    for seconds at a time, and both sides of a turn see the same."""
    return statistics.median(a[field] / b[field] for a, b in zip(above, below))


class Bench:
    def __init__(self, options, stack, folder):
        self.options = options
        self.stack = stack
        self.folder = folder
        self.about = machine.about() | {"load": round(os.getloadavg()[0], 2)}
        self.rows = []
        self.goals = []
        self.rescued = []      # asks each client of ours how often a time-out rescued it
        self.calls = 0         # of those clients
        self.servers = 0
        self.cpus = sorted(os.sched_getaffinity(0))
        self.turns, self.ms = (3, 100) if options.quick else (9, 400)
        self.here = {key: way for key, way in WAYS.items() if not self.missing(way)}

    @staticmethod
    def missing(way):
        why = absent(way)
        if why:
            print(f"without {way.name}: {why}", flush=True)
        return why

    def wants(self, part):
        return self.options.only in part

    def title(self, text):
        print(f"\n{text}", flush=True)

    def add(self, case, unit, ours, peer=(), peer_name="-", bound=None, bound_name="-",
            less_is_better=True):
        self.rows.append(rows.row("transport", case, unit, ours, list(peer), peer_name, bound,
                                  bound_name, less_is_better) | self.about)

    def goal(self, made):
        self.goals.append(made)

    # --- processes ---

    def server(self, way, stack, cpus, before=None):
        self.servers += 1
        return Server(stack, way, self.folder / f"server-{self.servers}", cpus, before)

    def client(self, server, stack, cpus, before=None):
        client = server.client(stack, cpus, before)
        if server.way.key == "nacelle":
            def count(client=client):
                self.rescued.append(int(client.ask("rescued")))
            stack.callback(count)
        return client

    def run(self, server, clients, size, ms, interval=0, start=None):
        """One timed turn of some clients; what each of them says, with CPU time of both sides."""
        server.go_on()
        before = server.cpu_ns()
        start = start if start is not None else 0
        for client in clients:
            client.send(f"run {size} {ms} {start} {interval}")
        results = [json.loads(client.answer()) for client in clients]
        after = server.cpu_ns()
        if server.way.key != "nacelle":
            server.stop()
        else:
            self.calls += sum(result["count"] for result in results)
        calls = sum(result["count"] for result in results)
        for result in results:
            result["client_cpu"] = sum(other["cpu"] for other in results) / calls
            result["server_cpu"] = (after - before) / calls
        return results

    def verify(self, server, client, sizes, count=64):
        server.go_on()
        for size in sizes:
            client.ask("verify", size, count)

    # --- round trips of one client ---

    def round_trips(self, part, keys, sizes, server_cpus, client_cpus, pin_later):
        """{(way, size): [result of each turn]} and the floor's medians."""
        results = {}
        with ExitStack() as stack:
            pairs = {}
            everywhere = set(self.cpus)
            for key in keys:
                server = self.server(self.here[key], stack,
                                     everywhere if pin_later else server_cpus)
                client = self.client(server, stack, everywhere if pin_later else client_cpus)
                self.verify(server, client, sizes)
                if pin_later:
                    server.pin(server_cpus)
                    client.ask("pin", *client_cpus)
                if key != "nacelle":
                    server.stop()
                pairs[key] = (server, client)
            floor = (self.floor_client(stack, pairs["nacelle"][0])
                     if server_cpus != client_cpus else None)
            floors = {size: [] for size in sizes}
            for _ in range(self.turns):
                for size in sizes:
                    for key, (server, client) in pairs.items():
                        if floor and key == "nacelle":
                            p50, p99 = floor.ask("floor", 100_000, *self.cpus[:2]).split()
                            floors[size].append({"p50": int(p50), "p99": int(p99)})
                        results.setdefault((key, size), []).extend(
                            self.run(server, [client], size, self.ms))
        for size in sizes:
            self.show_round_trips(f"{size_name(size)}, {part}",
                                  {key: results[key, size] for key in keys}, floors[size])
        return results, floors

    def floor_client(self, stack, server):
        return Answering(stack, "skeleton_client",
                         [BUILD / "bin/skeleton_client", server.at, "floor"])

    def show_round_trips(self, case, results, floors):
        ours = results["nacelle"]
        bound = us(median(floors, "p50")) if floors else None
        print(f"\n{case:<40} {'p50':>9} {'p99':>9} {'p99.9':>9} {'longest':>10} "
              f"{'CPU client':>10} {'server':>7}  p50 beside ours", flush=True)
        if floors:
            print(f"{'F, a cache line there and back, us':<40} {bound:>9.3f} "
                  f"{us(median(floors, 'p99')):>9.3f}")
        for key, turns in results.items():
            middle = {field: us(median(turns, field)) for field in ("p50", "p99", "p999")}
            longest = us(max(turn["max"] for turn in turns))
            print(f"{self.here[key].name + ', us':<40} {middle['p50']:>9.3f} {middle['p99']:>9.3f} "
                  f"{middle['p999']:>9.2f} {longest:>10.1f} {us(median(turns, 'client_cpu')):>10.2f} "
                  f"{us(median(turns, 'server_cpu')):>7.2f}  {ratio(turns, ours):.2f}x", flush=True)
            if key == "nacelle":
                continue
            for field, name in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"),
                                ("max", "longest"), ("client_cpu", "client's CPU time"),
                                ("server_cpu", "server's CPU time")):
                self.add(f"{case}, {name}", "us", [us(turn[field]) for turn in ours],
                         [us(turn[field]) for turn in turns], self.here[key].name,
                         bound if field == "p50" else None, "a cache line between two cores")

    def faster(self, results, size, key, limit):
        """The goal of being so many times faster than a peer, by p50."""
        keys = [one for one in (key if isinstance(key, tuple) else (key,)) if one in self.here]
        if not keys:
            return
        best = min(keys, key=lambda one: median(results[one, size], "p50"))
        self.goal(at_least(f"{size_name(size)}: faster than {self.here[best].name}",
                           ratio(results[best, size], results["nacelle", size]), limit))

    def two_cores(self):
        if len(self.cpus) < 2:
            print("one CPU: nothing about two cores", flush=True)
            return
        first, second = ({cpu} for cpu in self.cpus[:2])
        keys = list(self.here)
        results, floors = self.round_trips("two cores", keys, SIZES, second, first, pin_later=True)
        stream = self.stream_rate(SIZES[1])
        ours = {size: results["nacelle", size] for size in SIZES}
        small = size_name(KIB)
        self.goal(at_most(f"{small}: p50", ratio(ours[KIB], floors[KIB]), 2.0, "F"))
        self.goal(at_most(f"{small}: p99, beside F's p50", statistics.median(
            one["p99"] / floor["p50"] for one, floor in zip(ours[KIB], floors[KIB])), 2.5, "F"))
        for key, limit in ((("grpc_blocking", "grpc_queue"), 200), (("http_unix", "http_tcp"), 120),
                           ("socket", 65), ("iceoryx", 5.5)):
            self.faster(results, KIB, key, limit)
        self.goal(at_most(f"{small}: p50, beside the unchecked ring",
                          ratio(ours[KIB], results["ring", KIB]), 1.10))
        bound = SIZES[1] / stream + min(floor["p50"] for floor in floors[SIZES[1]])
        self.add(f"{size_name(SIZES[1])}, two cores, p50 beside one stream and F", "us",
                 [us(turn["p50"]) for turn in ours[SIZES[1]]], bound=us(bound),
                 bound_name="64 KiB at the cores' stream rate, and F")
        self.goal(at_most(f"{size_name(SIZES[1])}: p50, beside 64 KiB at {stream:.1f} GB/s and F",
                          min(one["p50"] for one in ours[SIZES[1]]) / bound, 1.2))
        for key, limit in ((("grpc_blocking", "grpc_queue"), 30), ("socket", 12), ("iceoryx", 2.6)):
            self.faster(results, SIZES[1], key, limit)

    def one_core(self):
        one = {self.cpus[0]}
        keys = [key for key, way in self.here.items() if not way.spins]
        results, _ = self.round_trips("one core", keys, [KIB], one, one, pin_later=False)
        ours = results["nacelle", KIB]
        for key, limit in (("pipe", 0.9), ("socket", 0.55), ("futex", 1.05)):
            self.goal(at_most(f"one core: p50, beside {self.here[key].name}",
                              ratio(ours, results[key, KIB]), limit))
        # Both sides counted on two CPUs when they started, and now share one.
        keys = ["nacelle", "socket"]
        results, _ = self.round_trips("one core, pinned after the start", keys, [KIB], one, one,
                                      pin_later=True)
        self.goal(at_most("one core, pinned after the start: no cliff beside a Unix socket",
                          ratio(results["nacelle", KIB], results["socket", KIB]), 1.0))

    # --- other loads ---

    def many_ways(self):
        ways = [key for key, way in self.here.items() if way.many]
        return [key for key in ways if key not in ("http_tcp", "grpc_blocking")]

    def open_loop(self):
        self.title(f"a call every {OPEN_INTERVAL_NS // 1000} us whatever became of the last one, "
                   f"timed from when it was due ({size_name(KIB)}; us)")
        print(f"{'':<40} {'p50':>9} {'p99':>9} {'p99.9':>9} {'longest':>10}")
        results = {}
        with ExitStack() as stack:
            pairs = {}
            for key in self.many_ways():
                server = self.server(self.here[key], stack, set(self.cpus))
                client = self.client(server, stack, set(self.cpus))
                self.verify(server, client, [KIB])
                if key != "nacelle":
                    server.stop()
                pairs[key] = (server, client)
            for _ in range(self.turns):
                for key, (server, client) in pairs.items():
                    results.setdefault(key, []).extend(
                        self.run(server, [client], KIB, self.ms, OPEN_INTERVAL_NS))
        for key, turns in results.items():
            print(f"{self.here[key].name:<40} {us(median(turns, 'p50')):>9.2f} "
                  f"{us(median(turns, 'p99')):>9.2f} {us(median(turns, 'p999')):>9.2f} "
                  f"{us(max(turn['max'] for turn in turns)):>10.1f}", flush=True)
            if key != "nacelle":
                for field, name in (("p50", "p50"), ("p99", "p99"), ("max", "longest")):
                    self.add(f"open loop, {name}", "us", [us(one[field]) for one in results["nacelle"]],
                             [us(one[field]) for one in turns], self.here[key].name)

    def processes(self):
        self.title(f"client processes at once, on all CPUs ({size_name(KIB)}): calls/s; p50 of the "
                   "processes' median, worst process' p99, us")
        ways = self.many_ways()
        print(f"{'':<28}" + "".join(f"{count:>12} {'p50':>8} {'p99':>9}" for count in PROCESSES))
        results = {}
        with ExitStack() as stack:
            groups = {}
            for key in ways:
                server = self.server(self.here[key], stack, set(self.cpus))
                clients = [self.client(server, stack, set(self.cpus))
                           for _ in range(max(PROCESSES))]
                for client in clients:
                    self.verify(server, client, [KIB])
                if key != "nacelle":
                    server.stop()
                groups[key] = (server, clients)
            for _ in range(max(3, self.turns // 2)):
                for count in PROCESSES:
                    for key, (server, clients) in groups.items():
                        start = time.clock_gettime_ns(time.CLOCK_MONOTONIC) + 50_000_000
                        told = self.run(server, clients[:count], KIB, self.ms, start=start)
                        calls = sum(one["count"] for one in told)
                        elapsed = max(one["end"] for one in told) - min(
                            one["begin"] for one in told)
                        results.setdefault((key, count), []).append(
                            {"rate": calls / elapsed * 1e9, "p50": median(told, "p50"),
                             "p99": max(one["p99"] for one in told)})
        for key in ways:
            print(f"{self.here[key].name:<28}" + "".join(
                f"{median(results[key, count], 'rate'):>12,.0f} "
                f"{us(median(results[key, count], 'p50')):>8.2f} "
                f"{us(median(results[key, count], 'p99')):>9.1f}" for count in PROCESSES), flush=True)
            if key == "nacelle":
                continue
            for count in PROCESSES:
                ours, peer = results["nacelle", count], results[key, count]
                self.add(f"{count} processes, throughput", "calls/s", [one["rate"] for one in ours],
                         [one["rate"] for one in peer], self.here[key].name, less_is_better=False)
                for field in ("p50", "p99"):
                    self.add(f"{count} processes, {field}", "us", [us(one[field]) for one in ours],
                             [us(one[field]) for one in peer], self.here[key].name)

    def stream_rate(self, size):
        """Bytes per nanosecond from one core to the other, with nothing around the copies: the most
        seen, since whatever else runs here only lowers it."""
        return max(self.one_way_rates("stream", "plain", size)["bytes"])

    def one_way_rates(self, key, program_name, size):
        way = WAYS["ring"]._replace(key=key, name=key, program=program_name)
        if key in WAYS:
            way = WAYS[key]
        told = []
        with ExitStack() as stack:
            server = self.server(way, stack, set(self.cpus))
            client = self.client(server, stack, set(self.cpus))
            if len(self.cpus) > 1:
                server.pin({self.cpus[1]})
                client.ask("pin", self.cpus[0])
            for _ in range(self.turns):
                told.append(json.loads(client.ask("one_way", size, self.ms)))
        if key == "nacelle":
            self.calls += sum(one["messages"] for one in told)
        return {field: [one[field] / one["ns"] for one in told] for field in ("messages", "bytes")}

    def one_way(self):
        self.title("one way (ours: pieces of a stream)")
        if len(self.cpus) < 2:
            print("one CPU: nothing about two cores", flush=True)
            return
        bound = self.stream_rate(64 * KIB)
        peers = {self.here[key].name: self.one_way_rates(key, "plain", 64)
                 for key in ("pipe", "socket")}
        small = self.one_way_rates("nacelle", "nacelle", 64)
        large = self.one_way_rates("nacelle", "nacelle", 64 * KIB)
        million = [rate * 1e3 for rate in small["messages"]]
        middle = statistics.median(million)
        print(f"{'Nacelle, 64 B':<40} {middle:>9.2f} M messages/s")
        print(f"{'bound: the cores stream':<40} {bound / 64 * 1e3:>9.2f} M messages/s")
        for name, rates in peers.items():
            theirs = [rate * 1e3 for rate in rates["messages"]]
            print(f"{name + ', 64 B, 1024 a write':<40} {statistics.median(theirs):>9.2f} M messages/s")
            self.add("one way, 64 B", "M/s", million, theirs, f"{name}, 1024 a write",
                     bound / 64 * 1e3, "the cores' stream", less_is_better=False)
        bulk = statistics.median(large["bytes"])
        print(f"{'Nacelle, 64 KiB':<40} {bulk:>9.2f} GB/s")
        print(f"{'bound: the cores stream':<40} {bound:>9.2f} GB/s", flush=True)
        self.add("one way, 64 KiB", "GB/s", large["bytes"], bound=bound,
                 bound_name="the cores' stream", less_is_better=False)
        self.goal(at_least("one way: 64-byte messages", middle, 80, "M/s"))
        self.goal(at_least("one way: 64 KiB, beside the cores' stream", bulk / bound, 0.95))

    def idle(self):
        seconds = 2 if self.options.quick else 5
        self.title(f"idle, {IDLE_CLIENTS} connections, {seconds} s: CPU time, ms per second")
        with ExitStack() as stack:
            server = self.server(WAYS["nacelle"], stack, set(self.cpus))
            client = self.client(server, stack, set(self.cpus))
            client.ask("more", IDLE_CLIENTS - 1)
            time.sleep(0.5)
            before = server.cpu_ns(), cpu_ns(client.pid)
            time.sleep(seconds)
            after = server.cpu_ns(), cpu_ns(client.pid)
        used = [(b - a) / seconds / 1e6 for a, b in zip(before, after)]
        print(f"{'nacelled':<40} {used[0]:>9.3f}\n{'the client':<40} {used[1]:>9.3f}", flush=True)
        self.add("idle, 64 connections, nacelled", "ms/s", [used[0]])
        self.add("idle, 64 connections, client", "ms/s", [used[1]])

    def quota(self):
        self.title(f"a quota of one CPU for both sides ({size_name(KIB)}; us)")
        print(f"{'':<40} {'p50':>9} {'p99':>9} {'p99.9':>9} {'longest':>10}  throttled")
        rates = {}
        for name, key, known in (("Nacelle, known at the start", "nacelle", True),
                                 ("Nacelle, set later", "nacelle", False),
                                 ("Unix socket", "socket", True)):
            with ExitStack() as stack:
                try:
                    group = CpuQuota(stack)
                except Failed as why:
                    print(f"skipped: {why}", flush=True)
                    return
                before = group.join if known else None
                server = self.server(self.here[key], stack, set(self.cpus), before)
                client = self.client(server, stack, set(self.cpus), before)
                self.verify(server, client, [KIB])
                if not known:
                    group.join(server.pid)
                    group.join(client.pid)
                periods, stopped = group.throttled()
                (told,) = self.run(server, [client], KIB, 2000 if self.options.quick else 5000)
                server.go_on()
                periods, stopped = (b - a for a, b in zip((periods, stopped), group.throttled()))
                rates[name] = told
                print(f"{name:<40} {us(told['p50']):>9.2f} {us(told['p99']):>9.2f} "
                      f"{us(told['p999']):>9.2f} {us(told['max']):>10.1f}  {periods} periods, "
                      f"{stopped * 1e3:.0f} ms", flush=True)
                self.add(f"quota of one CPU, {name}, longest", "us", [us(told["max"])])
                if key == "nacelle" and known:
                    self.goal(at_most("quota of one CPU: throttled periods", periods, 0, ""))
        self.goal(at_most("quota of one CPU: longest stall, beside a Unix socket",
                          rates["Nacelle, known at the start"]["max"] / rates["Unix socket"]["max"],
                          1.5))

    def python(self):
        self.title("one text to embed: Python beside C++, us")
        with ExitStack() as stack:
            server = self.server(WAYS["nacelle"], stack, set(self.cpus))
            (service,) = SERVICES
            native = Answering(stack, "the C++ client",
                               [program(WAYS["nacelle"]), "call", "embed",
                                f"{server.at},{service},{TEXT}"])
            try:
                python = Answering(stack, "the Python client",
                                   [PYTHON, BENCH / "transport/python_embed.py", server.at, service,
                                    TEXT])
                python.ask("run", 50)
            except Failed as why:
                print(f"skipped: {why}", flush=True)
                return
            native.ask("verify", KIB, 50)
            ours, theirs = [], []
            for _ in range(self.turns):
                theirs.append(us(json.loads(native.ask("run", KIB, self.ms, 0, 0))["p50"]))
                ours.append(us(json.loads(python.ask("run", self.ms))["p50"]))
        added = statistics.median(ours) - statistics.median(theirs)
        print(f"{'Python':<40} {statistics.median(ours):>9.2f}\n"
              f"{'C++':<40} {statistics.median(theirs):>9.2f}\n{'added':<40} {added:>9.2f}", flush=True)
        self.add("embed one text, Python, p50", "us", ours, theirs, "our C++ client")
        self.goal(at_most("Python: added to embed of one text", added, 20, "us"))

    def finish(self):
        if self.calls:
            rescues = sum(self.rescued)
            self.goal(at_most(f"rescued by a time-out, of {2 * self.calls:,} hand-offs", rescues, 0,
                              ""))
        if self.goals:
            self.title("goals")
            for made in self.goals:
                print(made.line())
        if self.options.json:
            rows.write(self.options.json,
                       self.rows + [made.row("transport") | self.about for made in self.goals])


PARTS = {"two cores": Bench.two_cores, "one core": Bench.one_core, "open loop": Bench.open_loop,
         "processes": Bench.processes, "one way": Bench.one_way, "idle": Bench.idle,
         "quota": Bench.quota, "python": Bench.python}


def run(options):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nacelle-bench-")))
        bench = Bench(options, stack, folder)
        about = bench.about
        print(f"commit {about['commit']}, {about['cpu']}, {about['cpus']} CPUs, Linux "
              f"{about['kernel']}, load {about['load']}", flush=True)
        parts = [part for part in PARTS if bench.wants(part)]
        if not parts:
            raise Failed(f"no part has {options.only!r} in its name: {', '.join(PARTS)}")
        for part in parts:
            PARTS[part](bench)
        bench.finish()


def main():
    parser = argparse.ArgumentParser(prog="./run bench transport", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter runs: about a minute")
    parser.add_argument("--json", metavar="FILE", help="also write a JSON object per row")
    parser.add_argument("--only", metavar="TEXT", default="",
                        help="only the parts whose name contains it")
    try:
        run(parser.parse_args())
    except (Failed, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"bench transport: {error}")


if __name__ == "__main__":
    main()
