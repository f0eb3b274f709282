"""libnacelle as ctypes sees it: the structs and functions of nacelle.h, and where the library is.

Not for applications: names here follow nacelle.h, check nothing and raise nothing. ctypes releases
the GIL during every call of a CDLL.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import numpy as np

from ._version import __version__

# Chooses another library than the one in the package, when it is imported and when it is built.
LIBRARY_VARIABLE = "NACELLE_LIBRARY"
LIBRARY_NAME = "libnacelle.so"


class Options(ctypes.Structure):
    """nacelle_options"""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("connect_timeout_ms", ctypes.c_uint32),
        ("socket", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
    ]


class Call(ctypes.Structure):
    """nacelle_call"""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("timeout_ms", ctypes.c_uint32),
        ("trace", ctypes.c_uint64),
        ("dtype", ctypes.c_uint32),
        ("dimensions", ctypes.c_uint32),
        ("normalize", ctypes.c_uint32),
        ("function", ctypes.c_uint32),
        ("long_input", ctypes.c_uint32),
        ("cache", ctypes.c_uint32),
        ("prompt", ctypes.c_char_p),
        ("prompt_name", ctypes.c_char_p),
    ]


class Report(ctypes.Structure):
    """nacelle_report"""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("items_failed", ctypes.c_uint32),
        ("queue_us", ctypes.c_uint32),
        ("compute_us", ctypes.c_uint32),
        ("batch_texts", ctypes.c_uint32),
        ("batch_clients", ctypes.c_uint32),
        ("retry_after_us", ctypes.c_uint32),
        ("items_cached", ctypes.c_uint32),
    ]


class Description(ctypes.Structure):
    """nacelle_description"""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("embed_width", ctypes.c_uint32),
        ("labels", ctypes.c_uint32),
        ("tokens_max", ctypes.c_uint32),
        ("multi_label", ctypes.c_uint32),
        ("digest", ctypes.c_char * 65),
        ("architecture", ctypes.c_char * 65),
        ("reranks", ctypes.c_uint32),
        ("long_input", ctypes.c_uint32),
        ("windows_max", ctypes.c_uint32),
        ("prompts", ctypes.c_uint32),
    ]


# The two that come in arrays of any length are numpy records: ctypes would keep one array type for
# every length ever used, for ever.
TEXT = np.dtype([("data", np.uintp), ("size", np.uintp)])  # nacelle_text
ITEM = np.dtype(  # nacelle_item
    [
        ("status", np.uint16),
        ("truncated", np.uint16),
        ("tokens", np.uint32),
        ("detail", np.uint32),
        ("tokens_total", np.uint32),
    ]
)

REPORT_SIZE = ctypes.sizeof(Report)
CALL_SIZE = ctypes.sizeof(Call)
DESCRIPTION_SIZE = ctypes.sizeof(Description)
OPTIONS_SIZE = ctypes.sizeof(Options)

_STATUS = ctypes.c_int
_POINTER = ctypes.c_void_p
_ROWS_ARGUMENTS = [
    _POINTER,  # client
    ctypes.c_char_p,  # service
    _POINTER,  # texts
    ctypes.c_size_t,  # count
    ctypes.POINTER(Call),
    _POINTER,  # rows out
    ctypes.c_size_t,  # capacity
    _POINTER,  # items
    ctypes.POINTER(Report),
]
_QUERY_ARGUMENTS = [*_ROWS_ARGUMENTS[:2], _POINTER, *_ROWS_ARGUMENTS[2:]]
_START = [ctypes.POINTER(Description), ctypes.POINTER(_POINTER)]  # pending
_START_ARGUMENTS = [*_ROWS_ARGUMENTS[:-1], *_START]
_NAME_ARGUMENTS = [
    _POINTER,
    ctypes.c_char_p,
    ctypes.c_uint32,
    _POINTER,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_size_t),
]

# Every function: what it returns, what it takes.
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "nacelle_connect": (_STATUS, [ctypes.POINTER(Options), ctypes.POINTER(_POINTER)]),
    "nacelle_close": (None, [_POINTER]),
    "nacelle_describe": (_STATUS, [_POINTER, ctypes.c_char_p, ctypes.POINTER(Description)]),
    "nacelle_recall": (_STATUS, [_POINTER, ctypes.c_char_p, ctypes.POINTER(Description)]),
    "nacelle_label": (_STATUS, _NAME_ARGUMENTS),
    "nacelle_prompt": (_STATUS, _NAME_ARGUMENTS),
    "nacelle_embed": (_STATUS, _ROWS_ARGUMENTS),
    "nacelle_classify": (_STATUS, _ROWS_ARGUMENTS),
    "nacelle_rerank": (_STATUS, _QUERY_ARGUMENTS),
    "nacelle_best": (ctypes.c_size_t, [_POINTER, ctypes.c_size_t, _POINTER, ctypes.c_size_t]),
    "nacelle_start_embed": (_STATUS, _START_ARGUMENTS),
    "nacelle_start_classify": (_STATUS, _START_ARGUMENTS),
    "nacelle_start_rerank": (_STATUS, [*_QUERY_ARGUMENTS[:-1], *_START]),
    "nacelle_pending_advance": (
        _STATUS,
        [_POINTER, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(Report)],
    ),
    "nacelle_pending_fd": (ctypes.c_int, [_POINTER]),
    "nacelle_pending_free": (None, [_POINTER]),
    "nacelle_ping_stream": (
        _STATUS,
        [
            _POINTER,  # client
            ctypes.c_uint32,  # pieces
            ctypes.c_uint32,  # bytes of each
            ctypes.c_uint32,  # microseconds between them
            ctypes.POINTER(Call),
            ctypes.POINTER(_POINTER),  # stream
        ],
    ),
    "nacelle_stream_next": (
        _STATUS,
        [_POINTER, ctypes.POINTER(_POINTER), ctypes.POINTER(ctypes.c_size_t)],
    ),
    "nacelle_stream_free": (None, [_POINTER]),
    "nacelle_ping": (_STATUS, [_POINTER, _POINTER, ctypes.c_size_t]),
    "nacelle_error": (ctypes.c_char_p, []),
    "nacelle_status_name": (ctypes.c_char_p, [_STATUS]),
    "nacelle_version": (ctypes.c_char_p, []),
}


class Library:
    """A loaded libnacelle whose version is this package's. Its functions are its attributes."""

    nacelle_connect: Any
    nacelle_close: Any
    nacelle_describe: Any
    nacelle_recall: Any
    nacelle_label: Any
    nacelle_prompt: Any
    nacelle_embed: Any
    nacelle_classify: Any
    nacelle_rerank: Any
    nacelle_best: Any
    nacelle_start_embed: Any
    nacelle_start_classify: Any
    nacelle_start_rerank: Any
    nacelle_pending_advance: Any
    nacelle_pending_fd: Any
    nacelle_pending_free: Any
    nacelle_ping_stream: Any
    nacelle_stream_next: Any
    nacelle_stream_free: Any
    nacelle_ping: Any
    nacelle_error: Any
    nacelle_status_name: Any
    nacelle_version: Any

    def __init__(self, path: Path, *, chosen_by: str) -> None:
        """chosen_by: in words for an error, why it is this file."""
        self.path = path
        try:
            loaded = ctypes.CDLL(str(path))
        except OSError as cause:
            raise ImportError(f"cannot load {path} ({chosen_by}): {cause}") from cause
        for name, (returns, takes) in _FUNCTIONS.items():
            try:
                function = getattr(loaded, name)
            except AttributeError:
                raise ImportError(
                    f"{path} ({chosen_by}) has no function {name}: it is not the libnacelle of "
                    f"nacelle {__version__}"
                ) from None
            function.restype = returns
            function.argtypes = takes
            setattr(self, name, function)
        version = self.nacelle_version().decode()
        if version != __version__:
            raise ImportError(
                f"{path} ({chosen_by}) is libnacelle {version}, but this is the Python package "
                f"{__version__}; install the two from the same source"
            )

    def error(self) -> str:
        """The reason for this thread's last failed call."""
        text: bytes = self.nacelle_error()
        return text.decode("utf-8", "replace")


def load() -> Library:
    """The library of $NACELLE_LIBRARY if it is set, else the one inside the package."""
    chosen = os.environ.get(LIBRARY_VARIABLE)
    if chosen:
        return Library(Path(chosen).absolute(), chosen_by=f"from ${LIBRARY_VARIABLE}")
    packaged = Path(__file__).with_name(LIBRARY_NAME)
    if not packaged.exists():
        raise ImportError(
            f"{packaged} is missing: this copy of the package was not built. Install it with "
            f"`pip install ./shm/python`, or set {LIBRARY_VARIABLE} to the path of a libnacelle.so"
        )
    return Library(packaged, chosen_by="from the package")


# Loaded once, on import: a process has one libnacelle.
library = load()
