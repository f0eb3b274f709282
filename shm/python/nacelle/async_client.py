"""The client for asyncio: the calls of Client as coroutines.

embed(), classify() and rerank() go to shared memory from the event loop itself, without a thread:
pending.py. What has to ask or to connect first (a service's first use, a sidecar that went away,
another model) goes to Client, in a thread, once for all calls of the loop that need the same.
"""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from .answers import Answer, Service
from .client import Client, connect
from .errors import Code, Error
from .options import Cache, DType, Function, LongInput, Options
from .pending import ModelChanged, NotKnown, PendingCalls
from .request import MODEL_CHANGES_MAX, OnError, Request
from .results import Classification, Description, Ranked, Report
from .streams import Stream

_make_lock = threading.Lock()  # for the PendingCalls of any client


def _renew_lock() -> None:
    global _make_lock
    _make_lock = threading.Lock()


# Another thread may have held it when the process was copied.
os.register_at_fork(after_in_child=_renew_lock)


async def connect_async(
    socket: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    connect_timeout: float = 5.0,
) -> AsyncClient:
    """connect() for asyncio, with the same arguments: connects in a thread."""
    return AsyncClient(
        await asyncio.to_thread(connect, socket, name=name, connect_timeout=connect_timeout)
    )


class AsyncClient:
    """A Client whose calls are coroutines. An asynchronous context manager that closes at its end.

    Any number of tasks, of event loops and of threads may use one at the same time, and the Client
    inside it as well. When there are more calls than the connection has room for (transport.slots),
    those that come later wait for their turn instead of raising Busy; `timeout` counts that time.
    A task that is cancelled gives its call up, and the sidecar hears of it.
    """

    def __init__(self, client: Client) -> None:
        """Shares the connection of `client`, and closes it when it is closed."""
        self._client = client

    @overload
    async def embed(
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
    async def embed(
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
    async def embed(
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
    async def embed(
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

    async def embed(
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
        timeout       seconds until DeadlineExceeded, waiting for one's turn included; None: any
                      time for that, and then the sidecar's default
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
        return request.vectors(await self._ask(request), report)

    @overload
    async def classify(  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
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
    async def classify(  # type: ignore[overload-overlap]  # a str is also an Iterable[str]
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
    async def classify(
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
    async def classify(
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

    async def classify(
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
        return request.labels(await self._ask(request), report)

    @overload
    async def rerank(
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
    async def rerank(
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

    async def rerank(
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
        return request.ranking(await self._ask(request), report)

    async def describe(self, service: str) -> Description:
        """What a service answers with: its widths, labels and limits, and its model's digest."""
        return await asyncio.to_thread(self._client.describe, service)

    async def ping(self, data: bytes = b"") -> bytes:
        """Sends up to 1 MiB to the sidecar and returns what comes back: the same bytes."""
        return await asyncio.to_thread(self._client.ping, data)

    async def ping_stream(
        self, pieces: int, size: int, interval: float = 0.0, timeout: float | None = None
    ) -> AsyncIterator[bytes]:
        """A stream without work: an asynchronous generator; see Client.ping_stream().

        It begins with the first piece that is asked for. A thread of its own waits for its pieces,
        one at a time and only when asked: so streams that are slow keep nobody else waiting, and a
        reader that is slow makes its stream wait. Closing the generator gives the rest up, at the
        latest when its next piece comes.
        """
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "nacelle-stream")
        stream: Stream | None = None
        try:
            begin = partial(Stream.of_pings, self._client, pieces, size, interval, timeout)
            stream = await loop.run_in_executor(thread, begin)
            while (piece := await loop.run_in_executor(thread, stream.next)) is not None:
                yield piece
        finally:
            if stream is not None:
                thread.submit(stream.free)  # after a next() that nobody awaits any more
            thread.shutdown(wait=False)

    async def close(self) -> None:
        """Closes the connection. Calls under way end with Closed. Closing twice is fine."""
        self._client.close()
        self._pending_calls().close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<nacelle.AsyncClient of {self._client!r}>"

    async def _ask(self, request: Request) -> Answer:
        """Sends one call and awaits what the C library writes. Raises for every failure of it."""
        client, calls = self._client, self._pending_calls()
        service = client._remembered(request.service)
        restarted = False
        for _ in range(MODEL_CHANGES_MAX):
            if service is None or service.width(request.op) == 0:
                service = await self._learn(calls, request.service)
            answer = request.make_answer(service)
            try:
                pending = await calls.run(client, request, answer)
            except NotKnown as unknown:
                error: Error | None = unknown.error
            except ModelChanged as changed:
                before, service = service, await self._learn(calls, request.service)
                if isinstance(changed.__cause__, Error) and service.identity == before.identity:
                    raise changed.__cause__ from None  # the model is the same: it is the input
                error = None
                continue
            else:
                if pending.status == Code.OK:
                    return request.check(answer)
                error = pending.error
                assert error is not None
                # Asked once more, as Client does: every call here may be.
                if pending.status != Code.SIDECAR_GONE or restarted:
                    raise error
                restarted = True
            service = await self._learn(calls, request.service)
        raise error if error is not None else request.model_keeps_changing()

    async def _learn(self, calls: PendingCalls, name: str) -> Service:
        """Has the client look at a service anew, and connect if that needs to be, in a thread."""
        loop = asyncio.get_running_loop()
        learning = calls.state(loop).learning
        future = learning.get(name)
        if future is None:
            future = loop.run_in_executor(None, self._client._learn, name)
            learning[name] = future

            def forget(done: asyncio.Future[Service]) -> None:
                del learning[name]
                if not done.cancelled():
                    done.exception()  # seen, even when every call that awaited it was cancelled

            future.add_done_callback(forget)
        try:
            return await asyncio.shield(future)
        except Error as error:
            # Each caller gets an exception of its own: tracebacks grow where they are raised.
            raise copy.copy(error) from None

    def _pending_calls(self) -> PendingCalls:
        """Those of our client, in this process: after a fork there are none yet."""
        calls = self._client._pending_calls
        if calls is None or calls.process != os.getpid():
            with _make_lock:
                calls = self._client._pending_calls
                if calls is None or calls.process != os.getpid():
                    calls = self._client._pending_calls = PendingCalls(self._client)
        return calls
