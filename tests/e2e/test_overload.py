"""More is asked than can be done: nothing is lost, nothing grows, and who is refused is told when
to come back.

What is checked holds on every machine, however slow: counts and bounds, no times. The load is open
loop: it comes at the rate of its schedule, whatever becomes of it, and each run has its seed in the
command. How fast all of this is, ./run bench serve tells.
"""

import json
import os
import signal

import pytest
from load import is_conserved, load

# Far over what one thread of any machine computes of these texts.
RATE = 40_000
SECONDS = 3
QUEUE_REQUESTS = 64
QUEUE_TOKENS = 4096
SLOTS = 64
LIMITS = (
    f"scheduler: {{queue_requests_max: {QUEUE_REQUESTS}, queue_tokens_max: {QUEUE_TOKENS}}}\n"
    f"transport: {{slots: {SLOTS}}}\nkernels: {{threads: 1}}\n"
)


@pytest.fixture
def texts(tmp_path):
    """Of different lengths, each far below the model's limit; more than can be under way at a time,
    since equal requests may be computed once."""
    path = tmp_path / "texts"
    path.write_text("".join(f"{n} " + "정말 재미있는 영화 " * (1 + n % 16) + "\n" for n in range(1200)))
    return path


def status(nacelled) -> dict:
    result = nacelled.ctl("--json", "status")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check_bounds(sample: dict) -> None:
    assert sample["state"] == "serving"
    assert sample["queued_requests"] <= QUEUE_REQUESTS, sample
    assert sample["queued_tokens"] <= QUEUE_TOKENS, sample
    for client in sample["clients"]:
        assert client["in_flight"] <= SLOTS, client


def at_rest(nacelled) -> dict:
    """The status when nothing waits any more: what was given up goes when it would have run."""
    for _ in range(1000):
        sample = status(nacelled)
        check_bounds(sample)
        if sample["queued_requests"] == 0:
            return sample
    raise AssertionError(sample)


def check_books(nacelled, reports: list) -> dict:
    """All that was submitted has ended, and the sidecar is as it was."""
    for report in reports:
        assert report["generator"]["died"] == 0
        for counts in (report, *report["phases"]):
            assert is_conserved(counts), counts
        assert (report["failed"], report["lost"]) == (0, 0), report["complaint"]
    after = at_rest(nacelled)
    assert after["queued_tokens"] == 0
    assert after["violations"] == []
    assert after["totals"]["rescued_by_timeout"] == 0
    assert after["pid"] == nacelled.process.pid
    assert nacelled.process.poll() is None
    return after


def asked_alone(texts) -> int:
    """serve_load asks every text once before it begins, to know the right answers."""
    return len(texts.read_text().splitlines())


@pytest.mark.parametrize(
    ("pattern", "seed"), [("--pattern=poisson", 1), ("--pattern=burst", 2)], ids=["poisson", "burst"]
)
def test_ten_times_too_much_is_refused_and_nothing_is_lost(nacelled, build, texts, pattern, seed):
    nacelled.start(more=LIMITS)
    options = (pattern, f"--seed={seed}", f"--phases={RATE}:{SECONDS * 1000}", "--processes=8",
               "--connections=2", "--grace-ms=60000", "--burst=200")
    samples = []
    with load(build, nacelled.socket, "sentiment", texts, *options) as crowd:
        before = status(nacelled)
        crowd.go()
        while crowd.running():
            samples.append(status(nacelled))
            check_bounds(samples[-1])
        report = crowd.report()
    after = check_books(nacelled, [report])

    assert len(samples) > 1, "the queues were never looked at"
    assert report["submitted"] > RATE * SECONDS * 0.8, "the load was not made"
    assert report["busy"] > report["ok"] > 0, "there was no overload"
    assert (report["deadline"], report["cancelled"]) == (0, 0)
    # "Busy" comes from the sidecar's queue, or at once from a connection whose slots are all in use:
    # either says when to come back.
    assert report["busy_without_hint"] == 0
    least, most = report["retry_after_us"]
    assert 1_000 <= least <= most <= 1_000_000

    totals = after["totals"]
    assert totals["busy"] > 0
    assert totals["requests"] - totals["busy"] == report["ok"] + asked_alone(texts)
    assert totals["requests"] <= report["submitted"] + asked_alone(texts)
    assert (totals["invalid"], totals["expired"], totals["cancelled"]) == (0, 0, 0)
    # A request in the queue is some kilobytes; a leak would be hundreds of megabytes by now.
    assert after["rss_bytes"] < before["rss_bytes"] + (32 << 20)


def test_what_expires_or_is_given_up_is_accounted_for(nacelled, build, texts):
    nacelled.start(more=LIMITS)
    options = ("--seed=3", f"--phases={RATE // 4}:2000", "--processes=4", "--connections=2",
               "--timeout-ms=20", "--cancel-share=0.3", "--cancel-after-us=500", "--grace-ms=60000")
    with load(build, nacelled.socket, "sentiment", texts, *options) as crowd:
        crowd.go()
        report = crowd.report()
    after = check_books(nacelled, [report])
    assert report["ok"] > 0
    assert report["cancelled"] > 0
    # What a client gave up or took for expired, the sidecar may have answered, or refused, too: but
    # everything that it took ended, one way each.
    totals = after["totals"]
    ended = sum(totals[name] for name in ("busy", "expired", "cancelled"))
    assert totals["requests"] <= report["submitted"] + asked_alone(texts)
    assert totals["requests"] - ended >= report["ok"] + asked_alone(texts)


def test_beside_a_greedy_neighbour_every_request_of_a_polite_one_ends(nacelled, build, texts):
    nacelled.start(more=LIMITS)
    greedy = ("--seed=4", f"--phases={RATE}:2000", "--connections=2", "--name=greedy",
              "--grace-ms=60000")
    polite = ("--seed=5", "--phases=50:2000", "--name=polite", "--grace-ms=60000")
    with load(build, nacelled.socket, "sentiment", texts, *greedy) as first, \
            load(build, nacelled.socket, "sentiment", texts, *polite) as second:
        first.go()
        second.go()
        while second.running():
            check_bounds(status(nacelled))
        reports = [first.report(), second.report()]
    after = check_books(nacelled, reports)
    assert reports[0]["busy"] > 0
    assert reports[1]["ok"] > 0, "the greedy one has filled the queue"
    for report in reports:
        assert report["busy_without_hint"] == 0
        assert report["deadline"] == 0
    taken = after["totals"]["requests"] - after["totals"]["busy"]
    assert taken == sum(report["ok"] for report in reports) + 2 * asked_alone(texts)


def test_what_a_caller_leaves_behind_when_it_is_killed_is_counted_as_lost(nacelled, build, texts):
    """The books of the other tests would show a request that nobody answered."""
    nacelled.start(more=LIMITS)
    options = ("--seed=6", "--phases=400:500", "--processes=2", "--grace-ms=60000")
    with load(build, nacelled.socket, "sentiment", texts, *options) as crowd:
        callers = crowd.callers()
        assert len(callers) == 2
        os.kill(callers[0], signal.SIGKILL)
        crowd.go()
        report = crowd.report()
    assert is_conserved(report)
    assert report["generator"]["died"] == 1
    assert report["lost"] > 0  # all that it would have asked
    assert report["ok"] > 0
    assert report["ok"] + report["busy"] + report["lost"] == report["submitted"]
    assert at_rest(nacelled)["pid"] == nacelled.process.pid
