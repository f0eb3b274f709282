"""Nacelle: embeddings and labels from the sidecar beside this process, through shared memory.

    import nacelle

    engine = nacelle.connect()                        # NACELLE_SOCKET or /run/nacelle/nacelle.sock
    vectors = engine.embed("minilm", texts)           # numpy float32 [len(texts), 384]
    labels = engine.classify("sentiment", texts)      # label, score, all scores
    ranks = engine.rerank("ranker", query, documents) # document, score, best first

In a coroutine:

    engine = await nacelle.connect_async()
    vectors = await engine.embed("minilm", texts)

client.py has the calls, async_client.py the same for asyncio, results.py what they return,
errors.py what they raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .client import Client, connect
from .errors import (
    Busy,
    Cancelled,
    Closed,
    Code,
    DeadlineExceeded,
    Denied,
    Error,
    Internal,
    InvalidInput,
    NotFound,
    SidecarGone,
    TooLarge,
    Unavailable,
    VersionMismatch,
)
from .results import Classification, Description, Ranked, Report

if TYPE_CHECKING:
    from .async_client import AsyncClient, connect_async

__all__ = [
    "AsyncClient",
    "Busy",
    "Cancelled",
    "Classification",
    "Client",
    "Closed",
    "Code",
    "DeadlineExceeded",
    "Denied",
    "Description",
    "Error",
    "Internal",
    "InvalidInput",
    "NotFound",
    "Ranked",
    "Report",
    "SidecarGone",
    "TooLarge",
    "Unavailable",
    "VersionMismatch",
    "__version__",
    "connect",
    "connect_async",
]


def __getattr__(name: str) -> Any:
    """asyncio takes a third as long to import as numpy: only those who use it wait for that."""
    if name in ("AsyncClient", "connect_async"):
        from . import async_client

        return getattr(async_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
