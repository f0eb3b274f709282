"""Nacelle: embeddings and labels from the sidecar beside this process, through shared memory.

    import nacelle

    engine = nacelle.connect()                        # NACELLE_SOCKET or /run/nacelle/nacelle.sock
    vectors = engine.embed("minilm", texts)           # numpy float32 [len(texts), 384]
    labels = engine.classify("sentiment", texts)      # label, score, all scores

client.py has the calls, results.py what they return, errors.py what they raise.
"""

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
from .results import Classification, Description, Report

__all__ = [
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
    "Report",
    "SidecarGone",
    "TooLarge",
    "Unavailable",
    "VersionMismatch",
    "__version__",
    "connect",
]
