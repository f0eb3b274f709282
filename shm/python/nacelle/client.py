"""The client: a connection to the sidecar and the calls it answers.

What one embed() or classify() does:

    texts ──pack──▶ blob, table ──▶ libnacelle ──▶ rows, items, report ──▶ array or labels
                                    (no GIL)       rows is the array that the caller gets
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import _native
from .answers import Answer, Op, Service, identity
from .arguments import address, milliseconds, name_bytes, path_bytes
from .errors import Closed, Code, invalid_input, make_error
from .results import Classification, Description, Report
from .texts import Packed, pack

OnError = Literal["raise", "return"]

# A call starts over when the sidecar came back with another model during it; so often at most.
_MODEL_CHANGES_MAX = 3
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
        answer = self._ask("embed", service, texts, timeout, on_error)
        vectors: NDArray[np.float32] = answer.rows[0] if isinstance(texts, str) else answer.rows
        return (vectors, answer.make_report()) if report else vectors

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
        answer = self._ask("classify", service, texts, timeout, on_error)
        results = answer.classifications()
        result = results[0] if isinstance(texts, str) else results
        return (result, answer.make_report()) if report else result

    def describe(self, service: str) -> Description:
        """What a service answers with: its widths, labels and limits, and its model's digest."""
        return self._service(service, refresh=True).description

    def ping(self, data: bytes = b"") -> bytes:
        """Sends up to 1 MiB to the sidecar and returns what comes back: the same bytes."""
        buffer = bytearray(data)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if buffer else None
        status = self._run(self._library.nacelle_ping, start, len(buffer))
        if status != Code.OK:
            raise make_error(status, self._library.error())
        return bytes(buffer)

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

    def _run(self, function: Any, *arguments: Any) -> int:
        """Calls function(client, *arguments) and returns its nacelle_status.

        The local reference keeps the connection alive until the function is back, so close() in
        another thread never frees what this one uses. It must not be held any longer (a traceback
        holds the frames it names), which is why callers raise and this does not.
        """
        connection = self._connection
        if connection is None:
            raise Closed(Code.INVALID, "this client is closed; nacelle.connect() makes another")
        status: int = function(connection.pointer, *arguments)
        return status

    def _ask(
        self,
        op: Op,
        service_name: str,
        texts: str | Iterable[str],
        timeout: float | None,
        on_error: OnError,
    ) -> Answer:
        """Sends one call and returns what the C library wrote. Raises for every failure of it."""
        if on_error not in ("raise", "return"):
            raise ValueError(f'on_error is {on_error!r}; it must be "raise" or "return"')
        packed = pack(texts, keep_bad=on_error == "return")
        call = None
        if timeout is not None:
            timeout_ms = milliseconds(timeout, "timeout", zero_allowed=False)
            call = _native.Call(_native.CALL_SIZE, timeout_ms)

        # The width of a row and the labels come from what we remember of the service. A sidecar
        # that restarted may have another model: its rows would be read wrongly. So what we remember
        # is compared after the call, when it can no longer change for this answer.
        for _ in range(_MODEL_CHANGES_MAX):
            service = self._service(service_name)
            if service.width(op) == 0:
                service = self._service(service_name, refresh=True)
            answer, status = self._send(op, service, packed, call)
            if status == Code.OK:
                if self._is_current(service):
                    break
            else:
                error = make_error(
                    status,
                    self._library.error(),
                    retry_after_us=answer.report.retry_after_us,
                )
                # These two may only say that our buffer was made for the model before.
                if status not in (Code.INVALID, Code.TOO_LARGE) or self._is_current(service):
                    raise error
            self._services.pop(service_name, None)
        else:
            raise make_error(
                Code.UNAVAILABLE,
                f'the model of service "{service_name}" changed {_MODEL_CHANGES_MAX} times during '
                "one call; try again when the sidecar is at rest",
            )

        if answer.report.items_failed:
            errors = answer.find_errors()
            if on_error == "raise":
                raise next(iter(errors.values()))
            answer.rows[list(errors)] = np.nan
        return answer

    def _send(
        self,
        op: Op,
        service: Service,
        packed: Packed,
        call: _native.Call | None,
    ) -> tuple[Answer, int]:
        width = service.width(op)
        if width == 0:
            other = "classify" if op == "embed" else "embed"
            raise invalid_input(
                f'service "{service.description.service}" does not {op}; it answers {other}()'
            )
        count = len(packed.table)
        rows = np.empty((count, width), np.float32)
        items = np.empty(count, _native.ITEM)
        report = _native.Report(_native.REPORT_SIZE)
        library = self._library
        status = self._run(
            library.nacelle_embed if op == "embed" else library.nacelle_classify,
            service.name,
            address(packed.table),
            count,
            call,
            address(rows),
            rows.size,
            address(items),
            report,
        )
        return Answer(service, rows, items, report), status

    def _service(self, name: str, *, refresh: bool = False) -> Service:
        """What we remember of a service; asks the sidecar when that is nothing."""
        service = self._services.get(name)
        if service is not None and not (refresh and not self._is_current(service)):
            return service
        service = self._describe(name)
        self._services[name] = service
        return service

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
        for _ in range(_MODEL_CHANGES_MAX):
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
