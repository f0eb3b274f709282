"""What a call may ask for besides its service and its texts, checked, as a nacelle_call.

All of it is in the request: two calls with equal options, texts and model have equal answers, and
`cache` changes nothing about them.
"""

from __future__ import annotations

import operator
from typing import Any, Literal, NamedTuple

import numpy as np

from . import _native
from .arguments import milliseconds
from .errors import invalid_input

DType = Literal["float32", "float16", "int8", "binary", "ubinary"]
Function = Literal["softmax", "sigmoid", "none"]
LongInput = Literal["truncate", "reject", "chunk_mean"]
Cache = Literal["use", "bypass", "read_only", "refresh"]

# By their numbers in nacelle.h.
DTYPES: tuple[DType, ...] = ("float32", "float16", "int8", "binary", "ubinary")
LONG_INPUTS = ("service", "truncate", "reject", "chunk_mean")
_FUNCTIONS = ("model", "softmax", "sigmoid", "none")
_CACHE = ("service", "use", "bypass", "read_only", "refresh")
_NUMPY_TYPES = (np.float32, np.float16, np.int8, np.int8, np.uint8)
_BITS = ("binary", "ubinary")


class Options(NamedTuple):
    """As numbers and bytes of nacelle_call; the defaults are those of the C interface."""

    dtype: int = 0
    dimensions: int = 0
    normalize: int = 0
    function: int = 0
    long_input: int = 0
    cache: int = 0
    prompt: bytes | None = None
    prompt_name: bytes | None = None

    @classmethod
    def of_embed(
        cls,
        dtype: DType,
        dimensions: int | None,
        normalize: bool | None,
        prompt: str | None,
        prompt_name: str | None,
        long_input: LongInput | None,
        cache: Cache | None,
    ) -> Options:
        if prompt is not None and prompt_name is not None:
            raise invalid_input("prompt and prompt_name are both given; pass one of them")
        return cls(
            dtype=_number("dtype", dtype, DTYPES),
            dimensions=0 if dimensions is None else count("dimensions", dimensions),
            normalize=0 if normalize is None else 2 if normalize else 1,
            long_input=_long_input(long_input),
            cache=_cache(cache),
            prompt=_c_string("prompt", prompt),
            prompt_name=_c_string("prompt_name", prompt_name),
        )

    @classmethod
    def of_scores(
        cls,
        function: Function | None,
        raw: bool,
        long_input: LongInput | None,
        cache: Cache | None,
    ) -> Options:
        if raw:
            if function not in (None, "none"):
                raise invalid_input(f"raw scores have no function, but function is {function!r}")
            function = "none"
        return cls(
            function=0 if function is None else _number("function", function, _FUNCTIONS[1:]) + 1,
            long_input=_long_input(long_input),
            cache=_cache(cache),
        )

    def native(self, timeout: float | None) -> _native.Call | None:
        """A nacelle_call with this many seconds for the answer; None when all is the default."""
        if timeout is None and self == _DEFAULT:
            return None
        wait = 0 if timeout is None else milliseconds(timeout, "timeout", zero_allowed=False)
        return _native.Call(_native.CALL_SIZE, wait, 0, *self)

    def row(self, width: int) -> tuple[int, Any]:
        """Elements of a row of `width` numbers, and their type."""
        width = self.dimensions or width
        return (width // 8 if DTYPES[self.dtype] in _BITS else width), _NUMPY_TYPES[self.dtype]


_DEFAULT = Options()


def count(what: str, value: int) -> int:
    """How many of something: at least 1."""
    number = operator.index(value)
    if not 1 <= number < 2**32:
        raise invalid_input(f"{what} is {value!r}; it must be at least 1, or None for all")
    return number


def _number(what: str, word: str, words: tuple[str, ...]) -> int:
    if word not in words:
        raise invalid_input(f"{what} is {word!r}; it must be one of {', '.join(words)}")
    return words.index(word)


def _long_input(policy: LongInput | None) -> int:
    return 0 if policy is None else _number("long_input", policy, LONG_INPUTS[1:]) + 1


def _cache(mode: Cache | None) -> int:
    return 0 if mode is None else _number("cache", mode, _CACHE[1:]) + 1


def _c_string(what: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    if "\0" in text:
        raise invalid_input(f"{what} has a NUL in it, which no text with a terminator can have")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid_input(f"{what} is not valid Unicode") from None
