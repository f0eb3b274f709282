"""Streams over the double of libnacelle: pieces, errors, and giving up."""

from __future__ import annotations

import asyncio
import ctypes
import math

import pytest
from loops import run
from sidecar import in_forked_child

import nacelle
from nacelle import _native


def test_a_stream_is_an_iterator_of_bytes(client: nacelle.Client, knobs: ctypes.CDLL) -> None:
    assert list(client.ping_stream(3, 2)) == [b"\x00\x01", b"\x01\x02", b"\x02\x03"]
    assert list(client.ping_stream(2, 0)) == [b"", b""]
    assert list(client.ping_stream(0, 5)) == []
    assert knobs.double_open_streams() == 0


def test_its_arguments_arrive_or_are_refused_at_once(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    client.ping_stream(1, 1, 0.0025, 0.25)
    assert (knobs.double_interval_us(), knobs.double_timeout_ms()) == (2500, 250)
    client.ping_stream(1, 1)
    assert (knobs.double_interval_us(), knobs.double_timeout_ms()) == (0, 0)
    for arguments in ((-1, 1), (1, -1), (2**32, 1), (1, 1, -0.1), (1, 1, 5000), (1, 1, math.nan)):
        with pytest.raises(nacelle.InvalidInput, match="it must be"):
            client.ping_stream(*arguments)
    with pytest.raises(nacelle.InvalidInput, match="timeout"):
        client.ping_stream(1, 1, timeout=0)
    with pytest.raises(nacelle.TooLarge, match="1 MiB"):
        client.ping_stream(1, 2**20 + 1)


def test_a_stream_that_is_closed_or_let_go_is_given_up(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    begun = client.ping_stream(5, 1)
    assert next(begun) == b"\x00"
    assert knobs.double_open_streams() == 1
    begun.close()  # type: ignore[attr-defined]
    assert knobs.double_open_streams() == 0
    assert list(begun) == []
    for _ in client.ping_stream(5, 1):
        break
    client.ping_stream(5, 1)  # not begun
    assert knobs.double_open_streams() == 0


def test_a_stream_that_breaks_off_raises_after_its_pieces(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    stream = client.ping_stream(5, 1, interval=13e-6)
    assert [next(stream), next(stream)] == [b"\x00", b"\x01"]
    with pytest.raises(nacelle.SidecarGone, match="broken") as caught:
        next(stream)
    assert knobs.double_open_streams() == 0  # though the error is kept
    assert list(stream) == [] and caught.tb is not None


def test_a_stream_ends_with_its_client(double: _native.Library, knobs: ctypes.CDLL) -> None:
    before = knobs.double_open_clients()
    client = nacelle.Client(library=double)
    stream = client.ping_stream(5, 1)
    next(stream)
    client.close()
    assert knobs.double_open_clients() == before
    with pytest.raises(nacelle.Closed):
        next(stream)
    with pytest.raises(nacelle.Closed):
        client.ping_stream(5, 1)
    assert knobs.double_open_streams() == 0


def test_a_stream_is_not_a_forked_childs(client: nacelle.Client, knobs: ctypes.CDLL) -> None:
    stream = client.ping_stream(2, 1)

    def in_child() -> bytes:
        with pytest.raises(nacelle.InvalidInput, match="forked"):
            next(stream)
        return str(knobs.double_open_streams()).encode()

    assert in_forked_child(in_child) == b"1"  # its memory is not there: nothing was freed
    assert list(stream) == [b"\x00", b"\x01"]


def test_an_asynchronous_stream_gives_the_same(client: nacelle.Client, knobs: ctypes.CDLL) -> None:
    engine = nacelle.AsyncClient(client)

    async def calls() -> None:
        got = [piece async for piece in engine.ping_stream(3, 2)]
        assert got == [b"\x00\x01", b"\x01\x02", b"\x02\x03"]
        got = []
        with pytest.raises(nacelle.SidecarGone, match="broken"):
            async for piece in engine.ping_stream(5, 1, interval=13e-6):
                got.append(piece)
        assert got == [b"\x00", b"\x01"]
        with pytest.raises(nacelle.TooLarge):
            await engine.ping_stream(1, 2**21).__anext__()

    run(calls())
    assert knobs.double_wait_no_streams()


def test_an_asynchronous_stream_that_is_left_is_given_up(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    engine = nacelle.AsyncClient(client)

    async def reader() -> None:
        async for _ in engine.ping_stream(2**32 - 1, 1):
            pass

    async def calls() -> None:
        async for _ in engine.ping_stream(5, 1):
            break
        stream = engine.ping_stream(5, 1)
        await stream.__anext__()
        await stream.aclose()  # type: ignore[attr-defined]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader(), 0.01)

    run(calls())
    assert knobs.double_wait_no_streams()
