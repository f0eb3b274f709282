"""The client: a connection to the sidecar and the calls it answers.

What one embed() or classify() does:

    texts ──pack──▶ blob, table ──▶ libnacelle ──▶ rows, items, report ──▶ array or labels
                                    (no GIL)       rows is the array that the caller gets
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import _native
from .answers import Answer, Service, identity
from .arguments import milliseconds, name_bytes, path_bytes
from .errors import Code, invalid_input, make_closed, make_error
from .request import MODEL_CHANGES_MAX, OnError, Request
from .results import Classification, Description, Report
from .streams import Stream, pieces_of

if TYPE_CHECKING:
    from .pending import PendingCalls

# Room for a label at the first try; a longer one is asked for again with room for all of it.
_LABEL_BYTES = 256


def connect(
    socket: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    connect_timeout: float = 5.0,
) -> Client:
    """Connects to the sidecar beside this process.

    socket           the sidecar's socket; None: $NACELLE_SOCKET, else /run/nacelle/nacelle.sock
    name             shown by nacellectl, at most 63 bytes; None: the name of the running script
    connect_timeout  seconds to wait for a sidecar that is starting; 0: it must be there already

    One client serves a whole process: any number of threads may use it at the same time. When the
    sidecar restarts it reconnects by itself.

    Raises Unavailable without a sidecar, Denied when this user is not on its list, VersionMismatch.
    """
    return Client(socket, name=name, connect_timeout=connect_timeout)


class Client:
    """A connection to the sidecar; see connect(). A context manager that closes at its end."""

    def __init__(
        self,
        socket: str | os.PathLike[str] | None = None,
        *,
        name: str | None = None,
        connect_timeout: float = 5.0,
        library: _native.Library | None = None,
    ) -> None:
        """As connect(). library: another libnacelle than the one the package loaded, for tests."""
        self._library = _native.library if library is None else library
        self._services: dict[str, Service] = {}
        self._connection: _Connection | None = None  # None from close() on
        self._pending_calls: PendingCalls | None = None  # made by AsyncClient when there is one
        options = _native.Options(
            _native.OPTIONS_SIZE,
            milliseconds(connect_timeout, "connect_timeout", zero_allowed=True),
            path_bytes(socket),
            name_bytes(name),
        )
        pointer = ctypes.c_void_p()
        status = self._library.nacelle_connect(options, pointer)
        if status != Code.OK:
            raise make_error(status, self._library.error())
        self._connection = _Connection(pointer, self._library.nacelle_close)

    @overload
    def embed(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> NDArray[np.float32]: ...

    @overload
    def embed(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[NDArray[np.float32], Report]: ...

    def embed(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: bool = False,
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], Report]:
        """Sentence vectors: float32 [len(texts), embed_width], or [embed_width] for a single str.

        service   a name from the sidecar's config
        texts     one str, or any iterable of at least one str; longer texts than the model reads
                  are truncated, which the report tells
        timeout   seconds until DeadlineExceeded; None: the sidecar's default
        on_error  about a text that cannot be encoded as UTF-8:
                  "raise": InvalidInput names it, and no text is answered
                  "return": its row is all NaN, report.errors has the reason, others are answered
        report    True: returns (vectors, Report)

        The array is the caller's own and was written by the C library: there is no copy.
        """
        request = Request("embed", service, texts, timeout, on_error)
        return request.vectors(self._ask(request), report)

    @overload
    def classify(  # type: ignore[overload-overlap]  # a str is also an Iterable[str]; it goes first
        self,
        service: str,
        texts: str,
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> Classification: ...

    @overload
    def classify(
        self,
        service: str,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> list[Classification]: ...

    @overload
    def classify(  # type: ignore[overload-overlap]  # as above
        self,
        service: str,
        texts: str,
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[Classification, Report]: ...

    @overload
    def classify(
        self,
        service: str,
        texts: Iterable[str],
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[list[Classification], Report]: ...

    def classify(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: bool = False,
    ) -> Any:
        """Labels: one Classification per text, in a list; for a single str the Classification.

        The arguments are those of embed(). With on_error="return" the Classification of a refused
        text has its reason in `error`, an empty label and NaN scores.
        """
        request = Request("classify", service, texts, timeout, on_error)
        return request.labels(self._ask(request), report)

    def describe(self, service: str) -> Description:
        """What a service answers with: its widths, labels and limits, and its model's digest."""
        return self._learn(service).description

    def ping(self, data: bytes = b"") -> bytes:
        """Sends up to 1 MiB to the sidecar and returns what comes back: the same bytes."""
        buffer = bytearray(data)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if buffer else None
        status = self._run(self._library.nacelle_ping, start, len(buffer))
        if status != Code.OK:
            raise make_error(status, self._library.error())
        return bytes(buffer)

    def ping_stream(
        self, pieces: int, size: int, interval: float = 0.0, timeout: float | None = None
    ) -> Iterator[bytes]:
        """A stream without work: a generator of `pieces` pieces, each of `size` bytes.

        interval  seconds between pieces; 0: as fast as they are read
        timeout   seconds until DeadlineExceeded, for the whole stream; None: the sidecar's default

        Byte j of piece i is (i + j) % 256. The stream begins at once; a reader that is slow makes
        it wait. Closing the generator, or letting go of it, gives the rest up.
        """
        return pieces_of(Stream.of_pings(self, pieces, size, interval, timeout))

    def close(self) -> None:
        """Closes the connection, as soon as no thread is inside a call. Closing twice is fine.

        A call that another thread is inside of ends with Closed at its next step.
        """
        self._connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<nacelle.Client {'closed' if self._connection is None else 'open'}>"

    def _ask(self, request: Request) -> Answer:
        """Sends one call and returns what the C library wrote. Raises for every failure of it."""
        # The width of a row and the labels come from what we remember of the service. A sidecar
        # that restarted may have another model: its rows would be read wrongly. So what we remember
        # is compared after the call, when it can no longer change for this answer.
        for _ in range(MODEL_CHANGES_MAX):
            service = self._learn(request.service, refresh=False)
            if service.width(request.op) == 0:
                service = self._learn(request.service)
            answer, status = self._send(request, service)
            if status == Code.OK:
                if self._is_current(service):
                    return request.check(answer)
            else:
                error = make_error(
                    status,
                    self._library.error(),
                    retry_after_us=answer.report.retry_after_us,
                )
                # These two may only say that our buffer was made for the model before.
                if status not in (Code.INVALID, Code.TOO_LARGE) or self._is_current(service):
                    raise error
            self._services.pop(request.service, None)
        raise request.model_keeps_changing()

    def _send(self, request: Request, service: Service) -> tuple[Answer, int]:
        answer = request.make_answer(service)
        library = self._library
        function = library.nacelle_embed if request.op == "embed" else library.nacelle_classify
        status = self._run(function, *request.arguments(answer, request.call), answer.report)
        return answer, status

    # ---- used by AsyncClient and Stream, too ----

    def _remembered(self, service: str) -> Service | None:
        """What was learned of a service, perhaps from a sidecar that is gone. Asks nobody."""
        return self._services.get(service)

    def _learn(self, name: str, *, refresh: bool = True) -> Service:
        """What we remember of a service; asks the sidecar when that is nothing.

        refresh: compares it with what the sidecar says, and connects if that needs to be.
        """
        service = self._services.get(name)
        if service is not None and not (refresh and not self._is_current(service)):
            return service
        service = self._describe(name)
        self._services[name] = service
        return service

    def _check_open(self) -> None:
        """Raises Closed after close()."""
        if self._connection is None:
            raise make_closed()

    def _run(self, function: Any, *arguments: Any) -> int:
        """Calls function(client, *arguments) and returns its nacelle_status.

        The local reference keeps the connection alive until the function is back, so close() in
        another thread never frees what this one uses. It must not be held any longer (a traceback
        holds the frames it names), which is why callers raise and this does not.
        """
        connection = self._connection
        if connection is None:
            raise make_closed()
        status: int = function(connection.pointer, *arguments)
        return status

    def _describe(self, name: str) -> Service:
        if not isinstance(name, str):
            raise TypeError(f"service is {type(name).__name__}, not str")
        if "\0" in name:
            raise invalid_input(f"service {name!r} has a NUL in it; no service has such a name")
        try:
            encoded = name.encode()
        except UnicodeEncodeError:
            raise invalid_input(f"service {name!r} is not valid Unicode") from None
        # The labels are fetched one by one; they are of one model if its digest is still the same.
        for _ in range(MODEL_CHANGES_MAX):
            native = _native.Description(_native.DESCRIPTION_SIZE)
            status = self._run(self._library.nacelle_describe, encoded, native)
            if status != Code.OK:
                raise make_error(status, self._library.error())
            description = Description(
                service=name,
                embed_width=native.embed_width,
                labels=tuple(self._label(encoded, index) for index in range(native.labels)),
                tokens_max=native.tokens_max,
                multi_label=bool(native.multi_label),
                digest=native.digest.decode("ascii", "replace"),
                architecture=native.architecture.decode("utf-8", "replace"),
            )
            service = Service(encoded, identity(native), description)
            if self._is_current(service):
                return service
        raise make_error(
            Code.UNAVAILABLE,
            f'the model of service "{name}" keeps changing; try again when the sidecar is at rest',
        )

    def _label(self, service: bytes, index: int) -> str:
        needed = ctypes.c_size_t(_LABEL_BYTES - 1)
        capacity = 0
        # Twice at most: the second time there is room for what the first time needed.
        for _ in range(2):
            if capacity > needed.value:
                break
            capacity = needed.value + 1
            text = ctypes.create_string_buffer(capacity)
            status = self._run(
                self._library.nacelle_label, service, index, text, capacity, ctypes.byref(needed)
            )
            if status != Code.OK:
                raise make_error(status, self._library.error())
        return text.raw[: min(needed.value, capacity - 1)].decode("utf-8", "replace")

    def _is_current(self, service: Service) -> bool:
        """Whether the sidecar's model is still the one we remember. Costs no round trip."""
        native = _native.Description(_native.DESCRIPTION_SIZE)
        status = self._run(self._library.nacelle_describe, service.name, native)
        if status != Code.OK:
            raise make_error(status, self._library.error())
        return identity(native) == service.identity


class _Connection:
    """Owns a nacelle_client: the last reference that goes closes it."""

    def __init__(self, pointer: ctypes.c_void_p, close: Any) -> None:
        self.pointer = pointer
        self._close = close  # kept here: module globals may be gone when an interpreter ends

    def __del__(self) -> None:
        self._close(self.pointer)
