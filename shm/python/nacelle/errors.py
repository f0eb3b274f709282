"""What can go wrong, one exception class for each thing a caller can do about it.

Every class is also the builtin that a caller would expect, so `except TimeoutError` works without
knowing this package. All of them survive pickling: they cross process borders in task queues.
"""

from __future__ import annotations

import enum
from typing import Any


class Code(enum.IntEnum):
    """The numbers of nacelle_status in nacelle.h. They never change."""

    OK = 0
    INVALID = 1
    NOT_FOUND = 2
    TOO_LARGE = 3
    BUSY = 4
    DEADLINE_EXCEEDED = 5
    CANCELLED = 6
    SIDECAR_GONE = 7
    DENIED = 8
    VERSION_MISMATCH = 9
    UNAVAILABLE = 10
    INTERNAL = 11


class Error(Exception):
    """A call failed. `code` says how, `message` says what, where and what to do."""

    code: int  # a Code; a plain number when the library is newer than this package
    message: str

    def __init__(self, code: int, message: str) -> None:
        # Only the message goes to the builtin: OSError would take two arguments for an errno.
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message), self.__dict__


class InvalidInput(Error, ValueError):
    """The input is wrong; sending it again will not help."""

    index: int | None = None  # of the text that is wrong, if it is one text
    byte: int | None = None  # offset in that text's UTF-8 where it stops being UTF-8


class Closed(InvalidInput):
    """The client was closed; connect() makes another."""


class NotFound(Error, LookupError):
    """The sidecar has no such service."""


class TooLarge(Error, ValueError):
    """The input is over a limit, which the message names with its option."""


class Busy(Error):
    """The sidecar has no room right now. Another try is worth it after `retry_after` seconds."""

    retry_after: float = 0.0


class DeadlineExceeded(Error, TimeoutError):
    """No answer within the timeout."""


class Cancelled(Error):
    """The call was given up before it was answered."""


class SidecarGone(Error, ConnectionError):
    """The sidecar stopped during the call and did not come back in time."""


class Denied(Error, PermissionError):
    """This user may not use the sidecar."""


class VersionMismatch(Error):
    """The sidecar and the library speak different versions; the message says which is older."""


class Unavailable(Error, ConnectionError):
    """There is no sidecar at the socket, or it takes no requests right now."""


class Internal(Error):
    """A mistake in Nacelle itself. Please report it."""


_CLASSES: dict[int, type[Error]] = {
    Code.INVALID: InvalidInput,
    Code.NOT_FOUND: NotFound,
    Code.TOO_LARGE: TooLarge,
    Code.BUSY: Busy,
    Code.DEADLINE_EXCEEDED: DeadlineExceeded,
    Code.CANCELLED: Cancelled,
    Code.SIDECAR_GONE: SidecarGone,
    Code.DENIED: Denied,
    Code.VERSION_MISMATCH: VersionMismatch,
    Code.UNAVAILABLE: Unavailable,
    Code.INTERNAL: Internal,
}


def make_error(code: int, message: str, *, retry_after_us: int = 0) -> Error:
    """The exception for a nacelle_status. A status of a newer library becomes a plain Error."""
    if code not in _CLASSES:
        return Error(code, message)
    error = _CLASSES[code](Code(code), message)
    if isinstance(error, Busy):
        error.retry_after = retry_after_us / 1e6
    return error


def make_closed() -> Closed:
    return Closed(Code.INVALID, "this client is closed; nacelle.connect() makes another")


def invalid_input(
    message: str, *, index: int | None = None, byte: int | None = None
) -> InvalidInput:
    """An InvalidInput that names the text and the byte, where there is one."""
    error = InvalidInput(Code.INVALID, message)
    error.index = index
    error.byte = byte
    return error
