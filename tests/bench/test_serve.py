"""bench/serve: which parts run, what their numbers mean, and when a number is not believed."""

import mmap
import os
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path[:0] = [str(BENCH / "support"), str(BENCH / "serve")]

import memory  # noqa: E402
import parts  # noqa: E402
import servers  # noqa: E402
from processes import Failed  # noqa: E402

COUNTS = {"submitted": 6, "ok": 3, "busy": 1, "deadline": 1, "cancelled": 1, "failed": 0, "lost": 0}


def report(phase=None, **changes):
    counts = COUNTS | changes
    return {**counts, "phases": [COUNTS | (phase or changes)], "generator": {"died": 0},
            "complaint": "why"}


def test_books_that_balance_are_believed():
    servers.check_books(report())


@pytest.mark.parametrize("wrong, why", [
    (report(submitted=7), "do not balance"),
    (report(phase={"ok": 4}), "do not balance"),
    (report(ok=2, lost=1), "1 were lost"),
    (report(ok=2, failed=1), "1 requests failed"),
])
def test_books_that_do_not_are_refused(wrong, why):
    with pytest.raises(Failed, match=why):
        servers.check_books(wrong)


def test_a_part_brings_what_it_needs_and_comes_after_it():
    assert parts.chosen("overload") == ["throughput", "overload"]
    assert parts.chosen("memory") == ["memory"]
    assert parts.chosen("") == list(parts.PARTS)
    assert parts.chosen("nothing like it") == []


@pytest.mark.parametrize("shares, index", [([1, 1, 1, 1], 1.0), ([5, 0, 0, 0], 0.25)])
def test_jains_index(shares, index):
    assert parts.jain(shares) == index


def test_the_median_is_taken_over_the_turns_of_a_phase():
    turns = [{"phases": [{"p99_us": 1}, {"p99_us": value}]} for value in (9, 2, 5)]
    assert parts.median(turns, "p99_us", phase=1) == 5
    assert parts.values(turns, "p99_us") == [1, 1, 1]


def test_http_callers_have_several_connections_and_all_sockets():
    peer = servers.Http.__new__(servers.Http)
    peer.sockets = [Path("/a"), Path("/b")]
    assert peer.words(Path("/t"), 1, 1) == ["http", "/a,/b", "--connections=64"]
    assert peer.words(Path("/t"), 64, 1) == ["http", "/a,/b", "--connections=8"]


def test_shared_regions_count_once_with_the_pages_they_have_and_apart_from_the_rest():
    before = memory.private_bytes(os.getpid())
    assert before > 1 << 20
    region = os.memfd_create("a-region")
    os.ftruncate(region, 1 << 24)
    with mmap.mmap(region, 1 << 24) as once:
        once[:1 << 23] = bytes(1 << 23)
        with mmap.mmap(region, 1 << 23) as again:
            found = memory.regions_of(os.getpid())
            # The pages that it has; all of it where one may not see how many those are.
            assert list(found.values()) in ([1 << 23], [1 << 24])
            assert memory.private_bytes(os.getpid()) < before + (1 << 22)
            again.flush()
    os.close(region)
