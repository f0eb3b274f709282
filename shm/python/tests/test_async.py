"""AsyncClient over the double of libnacelle: what its calls give, and what they leave behind."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from loops import run, until_watched, watched
from sidecar import SECONDS_MAX, in_forked_child
from test_client import ERRORS

import nacelle
from nacelle import _native


@pytest.fixture
def engine(client: nacelle.Client, knobs: ctypes.CDLL) -> Iterator[nacelle.AsyncClient]:
    """One whose calls are all freed when the test ends."""
    yield nacelle.AsyncClient(client)
    assert knobs.double_open_pendings() == 0


# ---- results ----


def test_every_call_gives_what_its_twin_gives(
    client: nacelle.Client, engine: nacelle.AsyncClient
) -> None:
    async def calls() -> list[Any]:
        return [
            (await engine.embed("sizes", ["a", "bcd", ""])).tolist(),
            (await engine.embed("sizes", "bcd")).tolist(),
            await engine.classify("sizes", ["tiny", "long " * 10]),
            await engine.classify("sizes", "tiny"),
            await engine.describe("sizes"),
            await engine.ping(b"abc"),
        ]

    assert run(calls()) == [
        client.embed("sizes", ["a", "bcd", ""]).tolist(),
        client.embed("sizes", "bcd").tolist(),
        client.classify("sizes", ["tiny", "long " * 10]),
        client.classify("sizes", "tiny"),
        client.describe("sizes"),
        client.ping(b"abc"),
    ]


def test_a_report_comes_with_the_result(engine: nacelle.AsyncClient) -> None:
    async def calls() -> None:
        vectors, report = await engine.embed("sizes", ["a", "b" * 17], report=True)
        assert vectors.shape == (2, 3)
        assert report.tokens.tolist() == [1, 16]
        assert (report.queue_us, report.batch_clients) == (11, 2)
        result, _ = await engine.classify("sizes", "a", report=True)
        assert result.label == "short"

    run(calls())


def test_a_bad_text_fails_the_call_or_alone(engine: nacelle.AsyncClient) -> None:
    async def calls() -> None:
        with pytest.raises(nacelle.InvalidInput) as caught:
            await engine.embed("sizes", ["fine", "a\ud800"])
        assert caught.value.index == 1
        vectors, report = await engine.embed(
            "sizes", ["fine", "a\ud800"], on_error="return", report=True
        )
        assert vectors[0].tolist() == [4, ord("f"), 0] and list(report.errors) == [1]
        with pytest.raises(nacelle.Internal, match=r"texts\[1\] was not answered"):
            await engine.embed("item:11", ["a", "b"])

    run(calls())


@pytest.mark.parametrize(("status", "kind", "builtin"), ERRORS)
def test_every_status_is_the_exception_of_the_twin(
    engine: nacelle.AsyncClient, status: int, kind: type[nacelle.Error], builtin: type[Exception]
) -> None:
    with pytest.raises(builtin, match="as the test wanted") as caught:
        run(engine.embed(f"later:{status}", "a"))
    assert type(caught.value) is kind
    if isinstance(caught.value, nacelle.Busy):  # the sidecar's own, which says when to come again
        assert caught.value.retry_after == 0.0025


def test_what_is_wrong_before_anything_is_sent_is_refused(engine: nacelle.AsyncClient) -> None:
    async def calls() -> None:
        with pytest.raises(nacelle.InvalidInput, match=r'"labels" does not embed'):
            await engine.embed("labels", "a")
        with pytest.raises(nacelle.InvalidInput, match="timeout"):
            await engine.embed("sizes", "a", timeout=0)
        with pytest.raises(ValueError, match="on_error"):
            await engine.classify("sizes", "a", on_error="ignore")  # type: ignore[call-overload]
        with pytest.raises(nacelle.TooLarge):
            await engine.ping(bytes(2**20 + 1))

    run(calls())


def test_an_unknown_service_is_not_found_by_every_call_for_itself(
    engine: nacelle.AsyncClient,
) -> None:
    async def calls() -> tuple[Any, Any]:
        return await asyncio.gather(
            engine.embed("nothing", "a"), engine.classify("nothing", "a"), return_exceptions=True
        )

    first, second = run(calls())
    assert type(first) is type(second) is nacelle.NotFound
    assert first is not second  # one exception raised twice would have a traceback of both


def test_a_timeout_arrives(engine: nacelle.AsyncClient, knobs: ctypes.CDLL) -> None:
    run(engine.embed("sizes", "a", timeout=0.25))
    assert knobs.double_timeout_ms() == 250
    run(engine.embed("sizes", "a"))
    assert knobs.double_timeout_ms() == 0


# ---- the loop goes on ----


def test_a_call_under_way_leaves_the_loop_to_other_tasks_and_needs_no_thread(
    engine: nacelle.AsyncClient, knobs: ctypes.CDLL
) -> None:
    async def calls() -> None:
        await engine.describe("blocks"), await engine.describe("sizes")
        threads = threading.active_count()
        tasks = [asyncio.ensure_future(engine.embed("blocks", "ab")) for _ in range(20)]
        await until_watched()
        assert (await engine.embed("sizes", "a")).tolist() == [1, ord("a"), 0]
        assert not any(task.done() for task in tasks)
        assert knobs.double_open_pendings() == 20
        assert threading.active_count() == threads
        knobs.double_release()
        for vector in await asyncio.gather(*tasks):
            assert vector.tolist() == [2, ord("a"), 0]

    run(calls())


def test_loops_in_several_threads_share_a_client(
    engine: nacelle.AsyncClient, knobs: ctypes.CDLL
) -> None:
    """The descriptor is read by one of the loops, and the news are for both."""
    both_wait = threading.Barrier(2, action=knobs.double_release)

    async def calls() -> None:
        await engine.describe("blocks")
        tasks = [asyncio.ensure_future(engine.embed("blocks", "ab")) for _ in range(3)]
        await until_watched()
        both_wait.wait(SECONDS_MAX)
        for vector in await asyncio.gather(*tasks):
            assert vector.tolist() == [2, ord("a"), 0]

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(run, calls()) for _ in range(2)]:
            future.result()


# ---- no room ----


def test_a_call_without_room_waits_for_its_turn(engine: nacelle.AsyncClient) -> None:
    async def calls() -> None:
        for vector in await asyncio.gather(*[engine.embed("full:30", "ab") for _ in range(20)]):
            assert vector.tolist() == [2, ord("a"), 0]

    run(calls())


def test_waiting_for_room_is_bounded_by_the_timeout(engine: nacelle.AsyncClient) -> None:
    async def calls() -> None:
        endless = [engine.embed("full:1000000", "a", timeout=0.05) for _ in range(3)]
        for error in await asyncio.gather(*endless, return_exceptions=True):
            assert isinstance(error, nacelle.DeadlineExceeded)
            assert "transport.slots" in str(error)

    run(calls())


def test_a_call_that_is_cancelled_while_it_waits_for_room_leaves_its_turn(
    engine: nacelle.AsyncClient, client: nacelle.Client
) -> None:
    async def calls() -> None:
        await engine.describe("full:1000000")
        tasks = [asyncio.ensure_future(engine.embed("full:1000000", "a")) for _ in range(3)]
        await asyncio.sleep(0)
        assert not client._pending_calls.is_idle()  # type: ignore[union-attr]
        # It waits behind them for its turn, and is answered when its turn comes.
        last = asyncio.ensure_future(engine.embed("sizes", "a"))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        assert (await last).tolist() == [1, ord("a"), 0]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in done)

    run(calls())


# ---- a sidecar that goes away, or has another model ----


def test_a_call_whose_sidecar_went_away_is_sent_once_more(engine: nacelle.AsyncClient) -> None:
    assert run(engine.embed("gone:1", "ab")).tolist() == [2, ord("a"), 0]
    with pytest.raises(nacelle.SidecarGone, match="it went away"):
        run(engine.embed("gone:3", "ab"))


def test_rows_are_read_with_the_width_of_the_model_that_wrote_them(
    client: nacelle.Client, engine: nacelle.AsyncClient
) -> None:
    assert client.describe("grows").embed_width == 3
    assert run(engine.embed("grows", ["a", "bc"])).tolist() == [[1, 97, 0, 0], [2, 98, 1, 0]]


def test_a_model_that_never_rests_is_reported(engine: nacelle.AsyncClient) -> None:
    with pytest.raises(nacelle.Unavailable, match='service "restless" changed 3 times'):
        run(engine.embed("restless", "a"))


# ---- calls that nobody awaits any more ----


def test_a_cancelled_call_is_freed_and_the_others_go_on(
    engine: nacelle.AsyncClient, knobs: ctypes.CDLL
) -> None:
    async def calls() -> None:
        await engine.describe("blocks")
        kept = asyncio.ensure_future(engine.embed("blocks", "ab"))
        await until_watched()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(engine.embed("blocks", "a"), 0.01)
        assert knobs.double_open_pendings() == 1
        knobs.double_release()
        assert (await kept).tolist() == [2, ord("a"), 0]

    run(calls())


def test_closing_ends_the_calls_under_way_and_those_that_wait_for_room(
    double: _native.Library, knobs: ctypes.CDLL
) -> None:
    before = knobs.double_open_clients()

    async def calls() -> None:
        async with nacelle.AsyncClient(nacelle.Client(library=double)) as engine:
            await engine.describe("blocks"), await engine.describe("full:1000000")
            tasks = [asyncio.ensure_future(engine.embed("blocks", "a")) for _ in range(3)]
            tasks += [asyncio.ensure_future(engine.embed("full:1000000", "a")) for _ in range(30)]
            await until_watched()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, nacelle.Closed)
        for call in (engine.embed("sizes", "a"), engine.describe("sizes"), engine.ping()):
            with pytest.raises(nacelle.Closed, match="closed"):
                await call
        await engine.close()
        assert "closed" in repr(engine)

    run(calls())
    assert knobs.double_open_pendings() == 0
    assert knobs.double_open_clients() == before


def test_a_loop_that_was_closed_with_calls_under_way_is_forgotten(
    engine: nacelle.AsyncClient, knobs: ctypes.CDLL
) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.describe("blocks"))
    task = loop.create_task(engine.embed("blocks", "a"))
    loop.run_until_complete(until_watched())
    loop.close()
    assert knobs.double_open_pendings() == 1
    assert run(engine.embed("sizes", "a")).tolist() == [1, ord("a"), 0]
    assert knobs.double_open_pendings() == 0
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_everything_goes_with_a_client_that_is_let_go_with_calls_under_way(
    double: _native.Library, knobs: ctypes.CDLL
) -> None:
    before = knobs.double_open_clients()
    engine = nacelle.AsyncClient(nacelle.Client(library=double))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.describe("blocks"))
    task = loop.create_task(engine.embed("blocks", "a"))
    loop.run_until_complete(until_watched())
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    del engine, loop, task
    for _ in range(3):  # what one pass finalizes may hold what the next one finds
        gc.collect()
    assert knobs.double_open_pendings() == 0
    assert knobs.double_open_clients() == before


def test_a_call_under_way_is_its_own_processes_to_free(
    engine: nacelle.AsyncClient, knobs: ctypes.CDLL
) -> None:
    """In a forked child its memory is not there, and the loop's epoll is the parent's."""

    async def calls() -> None:
        await engine.describe("blocks")
        task = asyncio.ensure_future(engine.embed("blocks", "ab"))
        await until_watched()

        def in_child() -> bytes:
            inherited = task.get_coro()
            inherited.close()
            kept = knobs.double_open_pendings()
            vector: list[float] = []
            thread = threading.Thread(
                target=lambda: vector.extend(asyncio.run(engine.embed("sizes", "abc")).tolist())
            )  # a new thread: this one is inside a running loop
            thread.start()
            thread.join(SECONDS_MAX)
            return f"{kept} {knobs.double_open_pendings()} {vector}".encode()

        assert in_forked_child(in_child).decode() == "1 1 [3.0, 97.0, 0.0]"
        assert len(watched()) == 2  # the child did not take it out of our epoll
        knobs.double_release()
        assert (await task).tolist() == [2, ord("a"), 0]

    run(calls())


# ---- connecting and importing ----


def test_connecting_is_awaited_and_has_the_same_arguments_and_errors() -> None:
    async def calls() -> None:
        with pytest.raises(nacelle.Unavailable):
            await nacelle.connect_async("nobody", name="me", connect_timeout=0)
        with pytest.raises(nacelle.InvalidInput, match="connect_timeout"):
            await nacelle.connect_async(connect_timeout=-1)

    run(calls())


def test_only_those_who_use_asyncio_wait_for_its_import() -> None:
    code = (
        "import sys, nacelle\n"
        "assert 'asyncio' not in sys.modules\n"
        "nacelle.AsyncClient, nacelle.connect_async\n"
        "from nacelle import *\n"
        "assert 'asyncio' in sys.modules\n"
        "assert AsyncClient is nacelle.AsyncClient\n"
        "nacelle.nonsense\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(nacelle.__file__).parents[1])}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.stderr.rstrip().endswith("module 'nacelle' has no attribute 'nonsense'"), ran.stderr
