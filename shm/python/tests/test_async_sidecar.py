"""AsyncClient with a real sidecar: the answers, many calls at once, sidecars that stop and die."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BUILD, HERE
from loops import run, until_watched
from sidecar import DATA, REVIEWS, SECONDS_MAX, Sidecar, in_forked_child

import nacelle

pytestmark = pytest.mark.skipif(
    BUILD is None, reason="NACELLE_BUILD names no build directory, so there is no nacelled to test"
)


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A call whose news or whose turn got lost would be found by a tick. Not here: it hangs."""
    if "clock" not in request.keywords:
        monkeypatch.setattr("nacelle.pending._TICK", 3600.0)
        monkeypatch.setattr("nacelle.pending._ROOM_TICK", 3600.0)


@pytest.fixture
def aengine(engine: nacelle.Client) -> Iterator[nacelle.AsyncClient]:
    yield nacelle.AsyncClient(engine)
    assert is_idle(engine)


def is_idle(client: nacelle.Client) -> bool:
    calls = client._pending_calls
    return calls is None or calls.is_idle()


def stop(sidecar: Sidecar) -> None:
    """Until kill() or go_on(): takes calls and answers none."""
    assert sidecar.process is not None
    sidecar.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sidecar.process.pid, os.WSTOPPED)


def go_on(sidecar: Sidecar) -> None:
    assert sidecar.process is not None
    sidecar.process.send_signal(signal.SIGCONT)


# ---- answers ----


def test_the_answers_are_those_of_the_calls_that_wait(
    engine: nacelle.Client, aengine: nacelle.AsyncClient
) -> None:
    async def calls() -> None:
        np.testing.assert_array_equal(
            await aengine.embed("sentiment", REVIEWS), engine.embed("sentiment", REVIEWS)
        )
        assert await aengine.classify("sentiment", REVIEWS) == engine.classify("sentiment", REVIEWS)
        assert await aengine.describe("sentiment") == engine.describe("sentiment")
        assert await aengine.ping(b"abc") == b"abc"
        texts = [REVIEWS[0], "half a pair: \ud83d", REVIEWS[1]]
        vectors, report = await aengine.embed("sentiment", texts, on_error="return", report=True)
        assert np.isnan(vectors[1]).all() and list(report.errors) == [1]
        assert report.tokens.tolist()[0] > 2
        with pytest.raises(nacelle.NotFound, match="sentiment"):
            await aengine.embed("sentimental", "a")
        with pytest.raises(nacelle.InvalidInput, match="at least one text"):
            await aengine.classify("sentiment", [])

    run(calls())


def test_a_list_longer_than_one_request_is_answered_in_order(aengine: nacelle.AsyncClient) -> None:
    vectors = run(aengine.embed("sentiment", REVIEWS[:50] * 100))  # more than limits.items_max
    np.testing.assert_array_equal(vectors, np.tile(vectors[:50], (100, 1)))


def test_loops_and_threads_share_a_client(
    engine: nacelle.Client, aengine: nacelle.AsyncClient
) -> None:
    expected = engine.embed("sentiment", REVIEWS)
    start = threading.Barrier(4)

    async def task(random: np.random.Generator) -> None:
        for _ in range(25):
            chosen = random.integers(0, len(REVIEWS), random.integers(1, 5)).tolist()
            got = await aengine.embed("sentiment", [REVIEWS[i] for i in chosen])
            np.testing.assert_array_equal(got, expected[chosen])

    async def tasks(seed: int) -> None:
        await asyncio.gather(*[task(np.random.default_rng([seed, i])) for i in range(8)])

    def loop(seed: int) -> None:
        start.wait(SECONDS_MAX)
        run(tasks(seed))

    def wait(seed: int) -> None:
        start.wait(SECONDS_MAX)
        for i in np.random.default_rng(seed).integers(0, len(REVIEWS), 100).tolist():
            np.testing.assert_array_equal(engine.embed("sentiment", REVIEWS[i]), expected[i])

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(loop, 1), pool.submit(loop, 2), pool.submit(wait, 3)]
        futures.append(pool.submit(wait, 4))  # the numbers are the seeds
        for future in futures:
            future.result()


# ---- more calls than room ----


@pytest.fixture
def small_sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    sidecar = Sidecar(tmp_path, transport={"slots": 4})
    sidecar.start()
    yield sidecar
    sidecar.kill()


def test_a_thousand_tasks_share_four_slots(small_sidecar: Sidecar) -> None:
    async def calls() -> None:
        async with nacelle.AsyncClient(small_sidecar.connect()) as engine:
            expected = await engine.embed("sentiment", REVIEWS)
            texts = REVIEWS * 5
            tasks = [engine.embed("sentiment", text) for text in texts]
            got = np.stack(await asyncio.gather(*tasks))
            np.testing.assert_array_equal(got, np.tile(expected, (5, 1)))
            assert is_idle(engine._client)

    run(calls())


async def until_room_is_waited_for(engine: nacelle.AsyncClient) -> None:
    calls = engine._pending_calls()
    while not calls.state(asyncio.get_running_loop()).waiters:
        await asyncio.sleep(0)


@pytest.mark.clock  # a slot comes back some time after its call was given up, and nothing tells
def test_a_cancelled_call_gives_its_slot_back(small_sidecar: Sidecar) -> None:
    async def calls() -> None:
        async with nacelle.AsyncClient(small_sidecar.connect()) as engine:
            expected = await engine.embed("sentiment", REVIEWS[0])
            for _ in range(20):
                stop(small_sidecar)
                tasks = [asyncio.ensure_future(engine.embed("sentiment", "a")) for _ in range(8)]
                await until_room_is_waited_for(engine)
                for task in tasks:
                    task.cancel()
                for error in await asyncio.gather(*tasks, return_exceptions=True):
                    assert isinstance(error, asyncio.CancelledError)
                assert is_idle(engine._client)
                go_on(small_sidecar)
            np.testing.assert_array_equal(await engine.embed("sentiment", REVIEWS[0]), expected)

    run(calls())


@pytest.mark.clock
def test_a_stopped_sidecar_exceeds_the_deadline_of_calls_with_and_without_room(
    small_sidecar: Sidecar,
) -> None:
    async def calls() -> None:
        async with nacelle.AsyncClient(small_sidecar.connect()) as engine:
            expected = await engine.embed("sentiment", REVIEWS[0])
            stop(small_sidecar)
            tasks = [engine.embed("sentiment", "a", timeout=0.1) for _ in range(20)]
            for error in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(error, nacelle.DeadlineExceeded), error
            assert is_idle(engine._client)
            go_on(small_sidecar)
            np.testing.assert_array_equal(await engine.embed("sentiment", REVIEWS[0]), expected)

    run(calls())


# ---- a sidecar that dies ----


async def twenty_calls_under_way(
    sidecar: Sidecar, engine: nacelle.AsyncClient
) -> list[asyncio.Task[Any]]:
    stop(sidecar)
    texts = REVIEWS[:20]
    tasks = [asyncio.ensure_future(engine.embed("sentiment", text)) for text in texts]
    await until_watched()
    return tasks


def test_calls_under_way_at_kill_9_are_answered_by_the_next_sidecar(own_sidecar: Sidecar) -> None:
    async def calls() -> None:
        async with nacelle.AsyncClient(own_sidecar.connect()) as engine:
            expected = await engine.embed("sentiment", REVIEWS[:20])
            for _ in range(2):
                tasks = await twenty_calls_under_way(own_sidecar, engine)
                own_sidecar.kill()
                own_sidecar.start()
                np.testing.assert_array_equal(np.stack(await asyncio.gather(*tasks)), expected)
            assert is_idle(engine._client)

    run(calls())


def test_calls_under_way_at_kill_9_end_when_nobody_comes_back(own_sidecar: Sidecar) -> None:
    own_sidecar.connect().close()  # wait until it is ready

    async def calls() -> None:
        async with nacelle.AsyncClient(own_sidecar.connect(connect_timeout=0.2)) as engine:
            await engine.embed("sentiment", "a")
            tasks = await twenty_calls_under_way(own_sidecar, engine)
            own_sidecar.kill()
            for error in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(error, (nacelle.SidecarGone, nacelle.Unavailable)), error
            assert is_idle(engine._client)

    run(calls())


def test_a_sidecar_that_comes_back_with_another_model_is_read_rightly(own_sidecar: Sidecar) -> None:
    async def calls() -> None:
        async with nacelle.AsyncClient(own_sidecar.connect()) as engine:
            old = await engine.embed("sentiment", "a film")
            tasks = await twenty_calls_under_way(own_sidecar, engine)
            own_sidecar.kill()
            own_sidecar.config["services"] = {"sentiment": str(DATA / "tiny-classifier")}
            own_sidecar.start()
            changed = np.stack(await asyncio.gather(*tasks))
            with own_sidecar.connect() as fresh:
                expected = fresh.embed("sentiment", REVIEWS[:20])
                label = fresh.classify("sentiment", "a film")
            np.testing.assert_array_equal(changed, expected)
            assert changed.shape[1:] != old.shape
            assert await engine.classify("sentiment", "a film") == label

    run(calls())


def test_a_client_goes_on_in_a_forked_child_and_its_calls_under_way_in_the_parent(
    own_sidecar: Sidecar,
) -> None:
    async def calls() -> None:
        async with nacelle.AsyncClient(own_sidecar.connect()) as engine:
            expected = await engine.embed("sentiment", REVIEWS[:20])

            def in_child() -> bytes:
                tasks.clear()
                received: list[bytes] = []

                def child_loop() -> None:  # in a new thread: this one is inside a running loop
                    received.append(run(engine.embed("sentiment", REVIEWS[:20])).tobytes())

                thread = threading.Thread(target=child_loop)
                thread.start()
                thread.join(SECONDS_MAX)
                return b"".join(received)

            tasks = await twenty_calls_under_way(own_sidecar, engine)
            kept = list(tasks)
            go_on(own_sidecar)
            assert in_forked_child(in_child) == expected.tobytes()
            np.testing.assert_array_equal(np.stack(await asyncio.gather(*kept)), expected)

    run(calls())


# ---- streams ----


def piece(number: int, size: int) -> bytes:
    return bytes((number + j) % 256 for j in range(size))


def test_streams_come_whole(engine: nacelle.Client, aengine: nacelle.AsyncClient) -> None:
    expected = [piece(i, 100) for i in range(2000)]
    assert list(engine.ping_stream(2000, 100)) == expected

    async def calls() -> list[bytes]:
        return [piece async for piece in aengine.ping_stream(2000, 100, interval=1e-6)]

    assert run(calls()) == expected


def test_streams_and_calls_go_on_beside_each_other(
    engine: nacelle.Client, aengine: nacelle.AsyncClient
) -> None:
    expected = engine.embed("sentiment", REVIEWS[0])
    embedded = 0

    async def stream() -> None:
        nonlocal embedded
        received = []
        async for got in aengine.ping_stream(20, 10, interval=0.001):
            received.append(got)
            vector = await aengine.embed("sentiment", REVIEWS[0])
            np.testing.assert_array_equal(vector, expected)
            embedded += 1
        assert received == [piece(i, 10) for i in range(20)]

    async def calls() -> None:
        await asyncio.gather(*[stream() for _ in range(16)])

    run(calls())
    assert embedded == 16 * 20


def test_a_stream_that_is_given_up_gives_its_slot_back(small_sidecar: Sidecar) -> None:
    with small_sidecar.connect() as client:
        endless = 2**32 - 1
        for _ in range(20):
            for number, got in enumerate(client.ping_stream(endless, 10)):
                assert got == piece(number, 10)
                if number == 3:
                    break
            until_not_busy(lambda: client.ping(b"a"))

        async def one() -> None:
            stream = nacelle.AsyncClient(client).ping_stream(endless, 10)
            assert await stream.__anext__() == piece(0, 10)
            await stream.aclose()  # type: ignore[attr-defined]

        async def calls() -> None:
            for _ in range(20):
                try:
                    await one()
                except nacelle.Busy:  # those before are on their way to being given up
                    pass

        run(calls())
        until_not_busy(lambda: client.ping(b"a"))


def until_not_busy(call: Callable[[], object]) -> None:
    for _ in range(100_000):
        try:
            call()
            return
        except nacelle.Busy:
            pass
    raise AssertionError("no slot came back")


def test_the_timeout_is_the_whole_streams(
    engine: nacelle.Client, aengine: nacelle.AsyncClient
) -> None:
    with pytest.raises(nacelle.DeadlineExceeded):
        for got in engine.ping_stream(10_000, 10, interval=0.01, timeout=0.05):
            assert len(got) == 10

    async def calls() -> None:
        with pytest.raises(nacelle.DeadlineExceeded):
            async for got in aengine.ping_stream(10_000, 10, interval=0.01, timeout=0.05):
                assert len(got) == 10

    run(calls())


def test_a_stream_ends_with_its_sidecar_and_is_not_begun_again(own_sidecar: Sidecar) -> None:
    with own_sidecar.connect() as client:
        stream = client.ping_stream(2**32 - 1, 10)
        assert next(stream) == piece(0, 10)
        own_sidecar.kill()
        with pytest.raises(nacelle.SidecarGone):
            for _ in stream:
                pass
        own_sidecar.start()
        assert list(client.ping_stream(2, 3)) == [piece(0, 3), piece(1, 3)]


# ---- the example in the README ----


class FastAPI:
    """As much of it as the example needs."""

    def __init__(self, lifespan: Callable[[Any], AbstractAsyncContextManager[None]]) -> None:
        self.lifespan = lifespan
        self.state = types.SimpleNamespace()
        self.routes: dict[str, Callable[..., Any]] = {}

    def get(self, path: str) -> Callable[[Any], Any]:
        return lambda function: self.routes.setdefault(path, function)


def test_the_example_of_an_asynchronous_server_works(
    sidecar: Sidecar, engine: nacelle.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (HERE.parent / "README.md").read_text()
    (example,) = [
        block.split("```")[0]
        for block in readme.split("```python\n")[1:]
        if "fastapi" in block.split("```")[0]
    ]
    monkeypatch.setenv("NACELLE_SOCKET", str(sidecar.socket))
    monkeypatch.setitem(sys.modules, "fastapi", types.SimpleNamespace(FastAPI=FastAPI))
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    app = names["app"]

    async def serve() -> list[Any]:
        async with app.lifespan(app):
            return await asyncio.gather(*[app.routes["/label"](text) for text in REVIEWS])

    expected = [result.label for result in engine.classify("sentiment", REVIEWS)]
    assert [answer["label"] for answer in run(serve())] == expected
