"""Arguments of Python as the C interface wants them: addresses, milliseconds, names."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from typing import Any

from numpy.typing import NDArray

from .errors import invalid_input

# The C interface has room for this many bytes of a client's name.
_NAME_BYTES_MAX = 63
# Milliseconds travel in 32 bits; longer waits than 49 days are cut to that.
_TIMEOUT_MS_MAX = 2**32 - 1


def address(array: NDArray[Any]) -> int:
    """Where an array's elements are. numpy's own `array.ctypes.data` takes three times as long."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array.data))


def milliseconds(seconds: float, what: str, *, zero_allowed: bool) -> int:
    """Seconds as the C interface wants them: rounded up, because 0 means its default there."""
    if not (seconds > 0 or (zero_allowed and seconds == 0)):  # a NaN fails here, too
        least = "0 or more" if zero_allowed else "more than 0"
        raise invalid_input(f"{what} is {seconds!r} seconds; it must be {least}")
    if seconds * 1000 >= _TIMEOUT_MS_MAX:
        return _TIMEOUT_MS_MAX
    return max(1, math.ceil(seconds * 1000))


def name_bytes(name: str | None) -> bytes | None:
    """The name a client is shown under; None: the script's, or the library decides."""
    if name is None:
        # The program is "python3" for everybody; what tells one from the other is the script.
        script = os.path.basename(sys.argv[0]) if sys.argv else ""
        if script in ("", "-c", "-m"):
            return None
        # Cut between characters, not inside one.
        cut = script.encode("utf-8", "replace")[:_NAME_BYTES_MAX]
        return cut.decode("utf-8", "ignore").encode()
    encoded = name.encode("utf-8", "replace")
    if len(encoded) > _NAME_BYTES_MAX or "\0" in name:
        raise invalid_input(
            f"name {name!r} has {len(encoded)} bytes; it must have at most {_NAME_BYTES_MAX} "
            "and no NUL"
        )
    return encoded


def path_bytes(path: str | os.PathLike[str] | None) -> bytes | None:
    """A path for C, which would end it silently at a NUL."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise invalid_input(f"socket {path!r} has a NUL in it; no file has such a name")
    return encoded
