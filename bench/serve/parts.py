"""The parts of bench/serve.py. Each takes the Bench, measures, and adds rows and goals to it."""

import math
import threading
from contextlib import ExitStack

from goals import at_least, at_most
from memory import memory
from servers import CLIENTS_MAX, Control, Load, Nacelle, Variant, closed

OVERLOAD = 10       # times what can be done
SAMPLE_S = 0.05     # between looks at the queues
BUSY_P99_US = 1000
# Until the sidecar has seen who asks for how much (docs/decisions/0019-scheduling.md).
ONSET_S = 2
BATCH_OF_ONE_SERVICES = 4  # enough that one always waits while another computes


def median(reports, key, phase=0):
    values = sorted(report["phases"][phase][key] for report in reports)
    return values[len(values) // 2]


def values(reports, key, phase=0):
    return [report["phases"][phase][key] for report in reports]


# ---- who the peers are ----

def choose_peers(bench):
    """The best set-up of one worker and of two, by what they can do with 64 callers."""
    tried = [Variant(workers, batching, spin) for workers in (1, 2)
             for batching, spin in (((True, False),) if bench.quick else
                                    ((True, False), (True, True), (False, False)))]
    best = {}
    for variant in tried:
        with ExitStack() as stack:
            peer = bench.start_peer(stack, variant)
            rates = {name: bench.run(peer, texts, closed(CLIENTS_MAX, bench.seconds))
                     ["phases"][0]["ok_per_s"] for name, texts in bench.texts.items()}
        print(f"    {peer.name}: " + ", ".join(f"{name} {rate:.1f} texts/s"
                                               for name, rate in rates.items()), flush=True)
        rate = math.prod(rates.values())  # a sum would hear the largest one only
        if variant.workers not in best or rate > best[variant.workers][0]:
            best[variant.workers] = (rate, variant)
    return [variant for _, variant in best.values()]


# ---- throughput ----

def throughput(bench):
    """Callers that ask again as soon as they are answered: what can be done at all."""
    for name, texts in bench.texts.items():
        for clients in (CLIENTS_MAX,) if bench.quick else (1, 8, CLIENTS_MAX):
            reports = bench.race(texts, closed(clients, bench.seconds))
            best = max(bench.peers, key=lambda peer: median(reports[peer], "ok_per_s"))
            row = bench.add(f"{name}, {clients} client{'s' * (clients > 1)}", "texts/s",
                            values(reports[bench.ours], "ok_per_s"),
                            values(reports[best], "ok_per_s"), best.name, bench.bounds[name], False)
            if clients == CLIENTS_MAX:
                bench.capacity[name] = row["ours"]
                bench.peer_capacity[name] = row["peer"]
                bench.goal(at_least(f"texts/s to the peer's, {name}, {clients} clients",
                                    row["ratio"], 3))


# ---- latency ----

def equal_load(bench):
    """The same requests at the same moments, for ours and the peers."""
    for name, texts in bench.texts.items():
        for share in (0.5, 0.9) if bench.quick else (0.1, 0.5, 0.9):
            compare(bench, name, texts, share, "poisson", CLIENTS_MAX)
        if not bench.quick:
            compare(bench, name, texts, 0.5, "burst", CLIENTS_MAX)
            compare(bench, name, texts, 0.5, "poisson", 1)


def compare(bench, name, texts, share, pattern, clients):
    rate = share * bench.peer_capacity[name]
    reports = bench.race(texts, Load(((rate, bench.load_seconds),), clients, pattern))
    best = min(bench.peers, key=lambda peer: median(reports[peer], "p99_us"))
    case = (f"{name}, {share:.0%} of the peer's" + ", bursts" * (pattern == "burst")
            + f", {clients} client{'s' * (clients > 1)}")
    for key in ("p50_us", "p99_us"):
        row = bench.add(f"{case}, {key[:3]}", "us", values(reports[bench.ours], key),
                        values(reports[best], key), best.name, None, True)
    if pattern == "poisson" and clients == CLIENTS_MAX:
        bench.goal(at_least(f"p99 of the peer to ours, {case}", row["ratio"], 5))


def own_load(bench):
    """Ours at shares of its own capacity, where the peers have none left."""
    for name, texts in bench.texts.items():
        for clients in (CLIENTS_MAX,) if bench.quick else (1, 8, CLIENTS_MAX):
            for share in (0.9,) if bench.quick else (0.1, 0.5, 0.9):
                load = Load(((share * bench.capacity[name], bench.load_seconds),), clients)
                reports = [bench.run(bench.ours, texts, load) for _ in range(bench.turns)]
                case = f"{name}, {share:.0%} of ours, {clients} client{'s' * (clients > 1)}"
                for key in ("p50_us", "p99_us"):
                    bench.add(f"{case}, {key[:3]}", "us", values(reports, key), None, "", None,
                              True)


# ---- batches ----

def batches(bench):
    """64 callers beside batches of one text, with the device busy all the time: each service is the
    same model and has one caller, so no batch can hold two texts."""
    texts = bench.texts["short"]
    services = {f"alone-{i}": bench.model for i in range(BATCH_OF_ONE_SERVICES)}
    with ExitStack() as stack:
        alone = Nacelle(stack, bench.folder / "alone", services, bench.sidecar_options)
        ones, many = [], []
        for _ in range(bench.turns):
            reports = bench.run_together([
                (alone, texts, closed(1, bench.seconds)._replace(part=f"{i}/{len(services)}"),
                 {"service": service}) for i, service in enumerate(services)])
            ones.append(sum(report["phases"][0]["ok_per_s"] for report in reports))
            many.append(bench.run(bench.ours, texts, closed(CLIENTS_MAX, bench.seconds))
                        ["phases"][0]["ok_per_s"])
        totals = alone.status()["totals"]
    if totals["batch_texts_max"] != 1:
        raise AssertionError("a batch of one held two texts")
    row = bench.add("short, 64 clients, beside batches of one text", "texts/s", many, ones,
                    "Nacelle, batches of 1", bench.bounds["short"], False)
    bench.goal(at_least("texts/s of 64 clients to batches of one text", row["ratio"], 4))


# ---- too much ----

class Queues:
    """Looks at the queues while a load runs, in the background."""

    def __init__(self, server, limits):
        self.server, self.limits = server, limits
        self.samples, self.over = 0, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def watch(self):
        with Control(self.server.control) as control:
            while not self.ended.wait(SAMPLE_S):
                status = control.ask("status")
                self.samples += 1
                self.over += any(status[key] > limit for key, limit in self.limits.items())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def overload(bench):
    """Half of what can be done, ten times that, and half again."""
    capacity = bench.capacity["short"]
    before, during, after = (2, 3, 3) if bench.quick else (5, 10, 5)
    load = Load(((capacity / 2, before), (capacity * OVERLOAD, during), (capacity / 2, after)))
    limits = {"queued_requests": bench.option("scheduler.queue_requests_max"),
              "queued_tokens": bench.option("scheduler.queue_tokens_max")}
    begin = bench.ours.status()
    with Queues(bench.ours, limits) as queues:
        report = bench.run(bench.ours, bench.texts["short"], load)
    end = bench.ours.status()
    calm, storm, again = report["phases"]
    print(f"    before: {calm['ok_per_s']:.1f}/s, p99 {calm['p99_us'] / 1e3:.2f} ms; "
          f"during: {storm['offered_per_s']:.0f}/s asked, {storm['ok_per_s']:.1f}/s answered, "
          f"{storm['busy']} busy, p99 {storm['p99_us'] / 1e3:.1f} ms; "
          f"after: p99 {again['p99_us'] / 1e3:.2f} ms; "
          f"retry hints {report['retry_after_us']} us; {queues.samples} looks at the queues",
          flush=True)
    bench.keep({"case": "overload", "report": report, "samples": queues.samples})
    bench.goal(at_least("10x: goodput to what can be done", storm["ok_per_s"] / capacity, 0.9))
    bench.goal(at_most("10x: p99 of the answer \"busy\"", storm["busy_p99_us"], BUSY_P99_US, "us"))
    bench.goal(at_most("10x: \"busy\" without a time to come back", report["busy_without_hint"], 0,
                       ""))
    # Whoever is taken last waits for all that is queued, at most.
    waits = limits["queued_requests"] / capacity * 1e3
    bench.goal(at_most("10x: p99 of what was taken, to a full queue's time",
                       storm["p99_us"] / 1e3 / waits, 1.2))
    settled = again["settled_ms"]
    if settled is None:  # not as long as we looked
        settled = again["seconds"] * 1e3
    bench.goal(at_most("10x: back to at most twice the p99 of before, after", settled, 1000, "ms"))
    bench.goal(at_most("10x: samples with a queue over its bound", queues.over, 0, ""))
    bench.goal(at_most("10x: requests lost", report["lost"], 0, ""))
    bench.goal(at_most("10x: resident memory after to before",
                       end["rss_bytes"] / begin["rss_bytes"], 1.05))


def neighbours(bench):
    """A polite client at half of its fair share of two, alone and beside a greedy one."""
    texts, capacity = bench.texts["short"], bench.capacity["short"]
    seconds = bench.load_seconds

    def steady(rate):
        return (rate, ONSET_S), (rate, seconds)

    polite = Load(steady(capacity / 4), 1, seed=2, name="polite", part="0/2")
    alone = [bench.run(bench.ours, texts, polite) for _ in range(bench.turns)]
    for times, p99_max in ((10, 2.0), (100, 1.5)):
        greedy = Load(steady(capacity * times), 1, seed=3, name="greedy", part="1/2")
        beside = [bench.run_together([(bench.ours, texts, polite, {}),
                                      (bench.ours, texts, greedy, {})])[0]
                  for _ in range(bench.turns)]
        submitted = sum(report["submitted"] for report in beside)
        refused = 1 - sum(report["ok"] for report in beside) / submitted
        p99, alone_p99 = median(beside, "p99_us", 1), median(alone, "p99_us", 1)
        print(f"    polite: p99 alone {alone_p99 / 1e3:.2f} ms, beside {times}x "
              f"{p99 / 1e3:.2f} ms (in the first {ONSET_S} s "
              f"{median(beside, 'p99_us') / 1e3:.2f} ms), {refused:.2%} of {submitted} not answered",
              flush=True)
        bench.goal(at_most(f"polite beside {times}x: p99 to alone", p99 / alone_p99, p99_max))
        bench.goal(at_most(f"polite beside {times}x: requests not answered", refused * 100, 1, "%"))
    crowd = [Load(steady(capacity / 4 * times), 1, seed=4 + i, name=f"asks-{times}x",
                  part=f"{i}/4") for i, times in enumerate((1, 2, 10, 100))]
    reports = bench.run_together([(bench.ours, texts, load, {}) for load in crowd])
    rates = [report["phases"][1]["ok_per_s"] for report in reports]
    print("    four that ask 1, 2, 10 and 100 times a quarter get "
          + ", ".join(f"{rate:.1f}" for rate in rates) + " texts/s", flush=True)
    bench.goal(at_least("Jain's index of four unequal clients", jain(rates), 0.95, ""))


def jain(shares):
    """1 when all are alike, 1 / n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share ** 2 for share in shares))


# In this order; what a part needs comes before it.
PARTS = {"throughput": throughput, "equal load": equal_load, "own load": own_load,
         "batches": batches, "overload": overload, "neighbours": neighbours, "memory": memory}
NEEDS = {"equal load": "throughput", "own load": "throughput", "overload": "throughput",
         "neighbours": "throughput"}


def chosen(only):
    """The parts whose name contains `only`, and those that they need."""
    names = {name for name in PARTS if only in name}
    names |= {NEEDS[name] for name in names if name in NEEDS}
    return [name for name in PARTS if name in names]
