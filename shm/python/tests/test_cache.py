"""The result cache, from Python: hits without a request, whoever runs or does not run."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BUILD
from sidecar import DATA, REVIEWS, Sidecar, in_forked_child

import nacelle

pytestmark = pytest.mark.skipif(BUILD is None, reason="needs a real sidecar: set NACELLE_BUILD")

SERVICES = {
    "sentiment": str(DATA / "nsmc-bert-ko"),
    "off": {"model": str(DATA / "nsmc-bert-ko"), "cache": "off"},
}


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path, services=SERVICES, cache={"memory_bytes": 16 << 20})
    sidecar.start()
    yield sidecar
    sidecar.kill()


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_what_was_answered_is_read_and_the_rest_is_asked_for(cached: Sidecar) -> None:
    with cached.connect() as engine:
        first, report = engine.embed("sentiment", REVIEWS[:10], report=True)
        assert report.items_cached == 0
        rows, report = engine.embed("sentiment", REVIEWS[:12], report=True)
        assert report.items_cached == 10
        assert np.array_equal(rows[:10], first)
        again, report = engine.embed("sentiment", REVIEWS[:12], report=True)
        assert report.items_cached == 12
        assert np.array_equal(again, rows)
        computed, report = engine.embed("sentiment", REVIEWS[:12], cache="bypass", report=True)
        assert report.items_cached == 0
        assert np.array_equal(computed, rows)


def test_modes(cached: Sidecar) -> None:
    with cached.connect() as engine:

        def hits(text: str, mode: str | None, service: str = "sentiment") -> int:
            asked: Any = mode  # one of them is not a mode
            _, report = engine.classify(service, [text], cache=asked, report=True)
            return report.items_cached

        assert [hits("use", "use"), hits("use", None)] == [0, 1]
        assert [hits("bypass", "bypass"), hits("bypass", "use")] == [0, 0]
        assert [hits("read", "read_only"), hits("read", "read_only")] == [0, 0]
        assert [hits("new", "refresh"), hits("new", "refresh"), hits("new", "use")] == [0, 0, 1]
        assert [hits("off", None, "off"), hits("off", "use", "off")] == [0, 0]
        with pytest.raises(nacelle.InvalidInput, match="cache is 'sometimes'"):
            hits("x", "sometimes")


def test_hits_while_the_sidecar_is_stopped_and_after_it_died(cached: Sidecar) -> None:
    with cached.connect(connect_timeout=10) as engine:
        labels = engine.classify("sentiment", REVIEWS[:20])
        rows = engine.embed("sentiment", REVIEWS[:20], dtype="float16")
        assert cached.process is not None
        pid = cached.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            ticks = cpu_ticks(pid)
            for _ in range(200):
                again, report = engine.classify("sentiment", REVIEWS[:20], report=True)
                assert report.items_cached == 20
                assert again == labels
            assert np.array_equal(engine.embed("sentiment", REVIEWS[:20], dtype="float16"), rows)
            assert cpu_ticks(pid) == ticks
            with pytest.raises(nacelle.DeadlineExceeded):
                engine.embed("sentiment", ["not asked before"], timeout=0.2)
        finally:
            os.kill(pid, signal.SIGCONT)
        cached.kill()
        assert engine.classify("sentiment", REVIEWS[:20]) == labels
    with pytest.raises(nacelle.Unavailable):
        nacelle.connect(cached.socket, connect_timeout=0)


def test_awaited_calls_read_it_too(cached: Sidecar) -> None:
    async def ask() -> None:
        async with await nacelle.connect_async(cached.socket, connect_timeout=60) as engine:
            first = await engine.embed("sentiment", REVIEWS[:5])
            rows, report = await engine.embed("sentiment", REVIEWS[:6], report=True)
            assert report.items_cached == 5
            assert np.array_equal(rows[:5], first)
            everything = await asyncio.gather(
                *(engine.embed("sentiment", REVIEWS[:6], report=True) for _ in range(20))
            )
            for again, report in everything:
                assert report.items_cached == 6
                assert np.array_equal(again, rows)
            _, report = await engine.classify(
                "sentiment", REVIEWS[:6], cache="read_only", report=True
            )
            assert report.items_cached == 0

    asyncio.run(ask())


def test_a_forked_child_reads_it_through_a_connection_of_its_own(cached: Sidecar) -> None:
    with cached.connect() as engine:
        rows = engine.embed("sentiment", REVIEWS[:3])

        def child() -> bytes:
            again, report = engine.embed("sentiment", REVIEWS[:3], report=True)
            return again.tobytes() + bytes([report.items_cached])

        # The child learns of the service by asking, and then reads what its parent asked for.
        assert in_forked_child(child) == rows.tobytes() + bytes([3])


def test_the_socket_transport_has_none(cached: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    with cached.connect() as engine:
        rows = engine.embed("sentiment", REVIEWS[:4])
    monkeypatch.setenv("NACELLE_TRANSPORT", "socket")
    with cached.connect() as engine:
        for _ in range(2):
            again, report = engine.embed("sentiment", REVIEWS[:4], report=True)
            assert report.items_cached == 0
            assert np.array_equal(again, rows)
