"""From Python strings to the nacelle_text table of the C interface.

All texts are joined into one buffer, so that a call costs one table and one address however many
texts it has:

    ["an", "example"]  ->  blob  "anexample"
                           table (address, 2) (address + 2, 7)
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from .errors import invalid_input


class Packed(NamedTuple):
    """Texts as the C library reads them. `table` points into `blob`: keep both for the call."""

    blob: bytes
    table: NDArray[np.uintp]  # [count, 2]: address, size in bytes


def pack(texts: str | Iterable[str], *, keep_bad: bool, name: str = "texts") -> Packed:
    """Checks and encodes texts: one str, or any iterable of str. name: in words for an error.

    A str with a lone surrogate has no UTF-8. With keep_bad it is sent as the bytes nearest to it,
    for the sidecar to refuse with its offset while the other texts are answered; else InvalidInput.
    """
    items = _materialize(texts, name)
    if not items:
        raise invalid_input(f"{name} is empty; pass at least one text, or skip the call")
    try:
        encoded = list(map(str.encode, items))
    except (TypeError, UnicodeEncodeError):
        encoded = _encode_slowly(items, keep_bad, name)

    blob = b"".join(encoded)
    address = ctypes.c_void_p.from_buffer(ctypes.c_char_p(blob)).value
    count = len(encoded)
    if count == 1:
        return Packed(blob, np.array(((address, len(blob)),), np.uintp))
    sizes = list(map(len, encoded))
    table = np.empty((count, 2), np.uintp)
    # accumulate() yields one number more than there are texts: the end, which is not an address.
    table[:, 0] = np.fromiter(accumulate(sizes, initial=address), np.uintp, count)
    table[:, 1] = sizes
    return Packed(blob, table)


def _materialize(texts: str | Iterable[str], name: str) -> Sequence[str]:
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, (list, tuple)):
        return texts
    if isinstance(texts, (bytes, bytearray, memoryview)):
        raise TypeError(f"{name} is {type(texts).__name__}, not str; decode it first: {_DECODE}")
    try:
        return list(texts)
    except TypeError as cause:
        if hasattr(texts, "__iter__"):
            raise  # from inside the caller's own generator: not ours to explain
        raise TypeError(
            f"{name} is {type(texts).__name__}; pass a str or an iterable of str"
        ) from cause


def _encode_slowly(items: Sequence[str], keep_bad: bool, name: str) -> list[bytes]:
    """The same encoding one by one, to name the text that is wrong."""
    encoded = []
    for index, item in enumerate(items):
        if not isinstance(item, str):
            _refuse_type(index, item, name)
        try:
            encoded.append(str.encode(item))
        except UnicodeEncodeError as bad:
            if not keep_bad:
                byte = len(item[: bad.start].encode())
                raise invalid_input(
                    f"{name}[{index}] is not valid Unicode: character {bad.start} is the lone "
                    f"surrogate U+{ord(item[bad.start]):04X}, which has no UTF-8 (byte {byte}); "
                    'repair it, or pass on_error="return" to have the other texts answered',
                    index=index,
                    byte=byte,
                ) from None
            encoded.append(str.encode(item, "utf-8", "surrogatepass"))
    return encoded


def _refuse_type(index: int, item: object, name: str) -> NoReturn:
    hint = f"; decode it first: {_DECODE}" if isinstance(item, (bytes, bytearray)) else ""
    raise TypeError(f"{name}[{index}] is {type(item).__name__}, not str{hint}")


_DECODE = 'text.decode("utf-8")'
