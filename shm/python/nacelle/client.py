"""The client: a connection to the sidecar and the calls it answers.

What one embed(), classify() or rerank() does:

    texts ──pack──▶ blob, table ──▶ libnacelle ──▶ rows, items, report ──▶ array, labels, ranks
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
from .options import LONG_INPUTS, Cache, DType, Function, LongInput, Options
from .request import MODEL_CHANGES_MAX, OnError, Request
from .results import Classification, Description, Ranked, Report
from .streams import Stream, pieces_of

if TYPE_CHECKING:
    from .pending import PendingCalls

# Room for a name at the first try; a longer one is asked for again with room for all of it.
_NAME_BYTES = 256


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
        dtype: Literal["float32"] = "float32",
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
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
        dtype: Literal["float32"] = "float32",
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[NDArray[np.float32], Report]: ...

    @overload
    def embed(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        dtype: DType,
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> NDArray[Any]: ...

    @overload
    def embed(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        dtype: DType,
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[NDArray[Any], Report]: ...

    def embed(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        dtype: DType = "float32",
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: bool = False,
    ) -> Any:
        """Sentence vectors: float32 [len(texts), embed_width], or [embed_width] for a single str.

        service       a name from the sidecar's config
        texts         one str, or any iterable of at least one str
        dtype         "float32"
                      "float16": each number rounded to the nearest
                      "int8": each row's direction, x * 127 / its largest |x|, rounded; cosines
                      of the codes are those of the vectors
                      "ubinary": uint8 [..., embed_width // 8], a bit per number, 1 where it is
                      above 0, as numpy.packbits has them; "binary": the same less 128, as int8
        dimensions    the first so many numbers only (Matryoshka), scaled to length 1 again if
                      the model scales; None: all
        normalize     True, False: whether vectors have length 1; None: as the model says
        prompt        put before each text; "": nothing
        prompt_name   one of the service's prompts, by its name; None of both: the one that the
                      service is set to, if any
        long_input    about a text of more tokens than the model takes:
                      "truncate": its first tokens are read, which the report tells
                      "reject": it is refused with TooLarge, which on_error is about, too
                      "chunk_mean": the mean over its parts, weighted by their tokens
                      None: what the service is set to
        cache         about the sidecar's result cache, when it keeps one; never changes the answer:
                      "use": what is there is taken, what is not is computed and put there
                      "bypass": neither; "read_only": nothing is put
                      "refresh": all is computed, and put in the place of what is there
                      None: what the service is set to
        timeout       seconds until DeadlineExceeded; None: the sidecar's default
        on_error      about a text that cannot be encoded as UTF-8, or is rejected:
                      "raise": the error names it, and no text is answered
                      "return": its row is all NaN (codes: 0), report.errors has the reason, others
                      are answered
        report        True: returns (vectors, Report)

        The array is the caller's own and was written by the C library: there is no copy.
        """
        options = Options.of_embed(
            dtype, dimensions, normalize, prompt, prompt_name, long_input, cache
        )
        request = Request("embed", service, texts, timeout, on_error, options)
        return request.vectors(self._ask(request), report)

    @overload
    def classify(  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
        self,
        service: str,
        texts: str,
        *,
        top_k: int | None = None,
        function: Function | None = None,
        raw: bool = False,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> Classification: ...

    @overload
    def classify(  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
        self,
        service: str,
        texts: str,
        *,
        top_k: int | None = None,
        function: Function | None = None,
        raw: bool = False,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
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
        top_k: int | None = None,
        function: Function | None = None,
        raw: bool = False,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> list[Classification]: ...

    @overload
    def classify(
        self,
        service: str,
        texts: Iterable[str],
        *,
        top_k: int | None = None,
        function: Function | None = None,
        raw: bool = False,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[list[Classification], Report]: ...

    def classify(
        self,
        service: str,
        texts: str | Iterable[str],
        *,
        top_k: int | None = None,
        function: Function | None = None,
        raw: bool = False,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: bool = False,
    ) -> Any:
        """Labels: one Classification per text, in a list; for a single str the Classification.

        top_k     so many of the labels, the best first, in `scores`; None: all, in the model's
                  order
        function  "softmax", "sigmoid" or "none", what makes scores from logits; None: the model's,
                  sigmoid where labels are independent and softmax elsewhere
        raw       True: the logits, as function="none"

        The other arguments are those of embed(); with long_input="chunk_mean" the logits of a
        text's parts are averaged. With on_error="return" the Classification of a refused text has
        its reason in `error`, an empty label and NaN scores.
        """
        options = Options.of_scores(function, raw, long_input, cache)
        request = Request("classify", service, texts, timeout, on_error, options, top=top_k)
        return request.labels(self._ask(request), report)

    @overload
    def rerank(
        self,
        service: str,
        query: str,
        documents: Iterable[str],
        top_n: int | None = None,
        raw: bool = False,
        *,
        function: Function | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[False] = False,
    ) -> list[Ranked]: ...

    @overload
    def rerank(
        self,
        service: str,
        query: str,
        documents: Iterable[str],
        top_n: int | None = None,
        raw: bool = False,
        *,
        function: Function | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: Literal[True],
    ) -> tuple[list[Ranked], Report]: ...

    def rerank(
        self,
        service: str,
        query: str,
        documents: Iterable[str],
        top_n: int | None = None,
        raw: bool = False,
        *,
        function: Function | None = None,
        long_input: LongInput | None = None,
        cache: Cache | None = None,
        timeout: float | None = None,
        on_error: OnError = "raise",
        report: bool = False,
    ) -> Any:
        """The documents by how well they answer the query, the best first: a list of Ranked.

        service    one whose model has a single label (a cross-encoder): Description.reranks
        documents  any iterable of at least one str
        top_n      so many of them at most; None: all
        raw        True: scores are the model's logits; False: probabilities, 0 to 1
        function   as in classify()

        The other arguments are those of embed(); documents are not cut into parts. A document that
        is too long for the model together with the query has its end cut off, or is refused, as
        long_input says. With on_error="return" a refused document is left out, and the report's
        errors have the reason.
        """
        options = Options.of_scores(function, raw, long_input, cache)
        request = Request(
            "rerank", service, documents, timeout, on_error, options, query=query, top=top_n
        )
        return request.ranking(self._ask(request), report)

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
                if self._is_answering(service):
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
        function = getattr(library, f"nacelle_{request.op}")
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
        # Names are fetched one by one; they are of one model if its digest is still the same.
        for _ in range(MODEL_CHANGES_MAX):
            native = _native.Description(_native.DESCRIPTION_SIZE)
            status = self._run(self._library.nacelle_describe, encoded, native)
            if status != Code.OK:
                raise make_error(status, self._library.error())
            description = Description(
                service=name,
                embed_width=native.embed_width,
                labels=self._names(self._library.nacelle_label, encoded, native.labels),
                tokens_max=native.tokens_max,
                multi_label=bool(native.multi_label),
                digest=native.digest.decode("ascii", "replace"),
                architecture=native.architecture.decode("utf-8", "replace"),
                reranks=bool(native.reranks),
                long_input=LONG_INPUTS[native.long_input],
                windows_max=native.windows_max,
                prompts=self._names(self._library.nacelle_prompt, encoded, native.prompts),
            )
            service = Service(encoded, identity(native), description)
            if self._is_current(service):
                return service
        raise make_error(
            Code.UNAVAILABLE,
            f'the model of service "{name}" keeps changing; try again when the sidecar is at rest',
        )

    def _names(self, function: Any, service: bytes, count: int) -> tuple[str, ...]:
        """The service's labels, or the names of its prompts."""
        return tuple(self._name(function, service, index) for index in range(count))

    def _name(self, function: Any, service: bytes, index: int) -> str:
        needed = ctypes.c_size_t(_NAME_BYTES - 1)
        capacity = 0
        # Twice at most: the second time there is room for what the first time needed.
        for _ in range(2):
            if capacity > needed.value:
                break
            capacity = needed.value + 1
            text = ctypes.create_string_buffer(capacity)
            status = self._run(function, service, index, text, capacity, ctypes.byref(needed))
            if status != Code.OK:
                raise make_error(status, self._library.error())
        return text.raw[: min(needed.value, capacity - 1)].decode("utf-8", "replace")

    def _is_answering(self, service: Service) -> bool:
        """Whether it is the model we remember whose answers come, perhaps from the cache of a
        sidecar that is gone. Costs no round trip."""
        native = _native.Description(_native.DESCRIPTION_SIZE)
        status = self._run(self._library.nacelle_recall, service.name, native)
        if status != Code.OK:
            return self._is_current(service)
        return identity(native) == service.identity

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
