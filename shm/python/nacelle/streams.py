"""Answers that come in pieces."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .errors import Code, invalid_input, make_error
from .options import Options

if TYPE_CHECKING:
    from .client import Client

_UINT32_MAX = 2**32 - 1


class Stream:
    """Owns a nacelle_stream: the last reference that goes gives it up. For one thread at a time."""

    def __init__(self, client: Client, pointer: ctypes.c_void_p) -> None:
        library = client._library
        self._client = client
        self._pointer: ctypes.c_void_p | None = pointer
        self._process = os.getpid()
        self._data, self._size = ctypes.c_void_p(), ctypes.c_size_t()
        self._next, self._error = library.nacelle_stream_next, library.error
        # Kept here: module globals may be gone when an interpreter ends.
        self._free, self._getpid = library.nacelle_stream_free, os.getpid

    @classmethod
    def of_pings(
        cls, client: Client, pieces: int, size: int, interval: float, timeout: float | None
    ) -> Stream:
        """See Client.ping_stream()."""
        for value, what in ((pieces, "pieces"), (size, "size")):
            if not 0 <= value <= _UINT32_MAX:
                raise invalid_input(f"{what} is {value}; it must be 0 or more, below 2**32")
        interval_us = interval * 1e6
        if not 0 <= interval_us <= _UINT32_MAX:  # a NaN fails here, too
            raise invalid_input(f"interval is {interval!r} seconds; it must be 0 to 4294")
        call = Options().native(timeout)
        pointer = ctypes.c_void_p()
        status = client._run(
            client._library.nacelle_ping_stream,
            pieces,
            size,
            round(interval_us),
            call,
            ctypes.byref(pointer),
        )
        if status != Code.OK:
            raise make_error(status, client._library.error())
        return cls(client, pointer)

    def next(self) -> bytes | None:
        """Waits for the next piece, without the GIL; None at the end."""
        if self._pointer is None:
            return None
        if self._getpid() != self._process:
            raise invalid_input("this stream belongs to the process that this one was forked from")
        self._client._check_open()
        status = self._next(self._pointer, ctypes.byref(self._data), ctypes.byref(self._size))
        if status != Code.OK:
            raise make_error(status, self._error())
        if self._data.value is None:
            return None
        return ctypes.string_at(self._data, self._size.value)

    def free(self) -> None:
        """Gives the stream up if it has not ended. Again is fine."""
        pointer, self._pointer = self._pointer, None
        # In a forked child the stream's memory is not there: it is the parent's to give up.
        if pointer is not None and self._getpid() == self._process:
            self._free(pointer)

    __del__ = free


def pieces_of(stream: Stream) -> Iterator[bytes]:
    """The pieces, until the end or until the generator is closed."""
    try:
        while (piece := stream.next()) is not None:
            yield piece
    finally:
        stream.free()
