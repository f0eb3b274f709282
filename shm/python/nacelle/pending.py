"""Calls under way in libnacelle that no thread waits for: nacelle_pending for asyncio.

    run() ──▶ nacelle_start ──▶ under way ──await future──▶ release ──▶ its status
                                    ▲ advance
    event loop: descriptor readable, or a tick of the clock

All calls of one connection share one descriptor, and several event loops in several threads may
share the client. The rules of nacelle.h become these:

  - Starting, advancing and freeing happen under one lock.
  - Whichever loop finds the descriptor readable advances the calls of all loops.
  - A call is released in its own loop's thread: first the loop stops watching the descriptor, if
    this was its last call on it, then the call is freed. The descriptor's number may mean something
    else after that.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
import os
import threading
from asyncio import AbstractEventLoop
from collections import deque
from typing import TYPE_CHECKING

from . import _native
from .answers import Answer, Service, identity
from .errors import Code, Error, make_closed, make_error
from .request import Request

if TYPE_CHECKING:
    from .client import Client

# The sidecar itself ends a call at its deadline, and the descriptor tells. A sidecar that is
# stopped does not: so often, in seconds, calls look at the time by themselves.
_TICK = 1.0
# Room that other threads' calls, or calls that were given up, leave behind is found by looking.
_ROOM_TICK = 0.01


class Pending:
    """One call. Ended when it has a status."""

    __slots__ = ("answer", "due", "error", "fd", "future", "loop", "pointer", "request", "status")

    def __init__(self, loop: AbstractEventLoop, request: Request, answer: Answer) -> None:
        self.loop = loop
        # Kept here: the C library reads and writes the memory of both until the call is freed.
        self.request = request
        self.answer = answer
        self.due = math.inf  # in the loop's time: when its deadline should have ended it
        self.pointer: int | None = None  # a nacelle_pending
        self.fd = -1
        self.future: asyncio.Future[None] | None = None  # done when the call has ended
        self.status: int | None = None
        self.error: Error | None = None  # with a status other than OK

    def end(self, status: int, error: Error | None) -> None:
        self.status, self.error = status, error


class Outcome(Exception):
    """Not an error of its own: run() could not send the call, and what could help."""


class ModelChanged(Outcome):
    """The sidecar's model is not the one that the answer was made for."""


class NotKnown(Outcome):
    """There is no live connection, or the service has not been described on it."""

    def __init__(self, error: Error) -> None:
        self.error = error


class _LoopState:
    """What one event loop has to do with us."""

    def __init__(self) -> None:
        self.watched: dict[int, int] = {}  # its calls by descriptor; the loop watches all of these
        # Calls that found no room, first come first served, with their deadlines. A waiter's result
        # is True when whoever woke it cannot know that there is room for just one.
        self.waiters: deque[tuple[asyncio.Future[bool], float]] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self.learning: dict[str, asyncio.Future[Service]] = {}  # for AsyncClient: by name


class PendingCalls:
    """All calls of one client, in one process, that event loops wait for."""

    def __init__(self, client: Client) -> None:
        self.process = os.getpid()
        self._library = client._library
        # Reentrant: the garbage collector may close a coroutine, and so release its call, in any
        # line that has the lock.
        self._lock = threading.RLock()
        self._channels: dict[int, dict[Pending, None]] = {}  # calls by descriptor
        self._loops: dict[AbstractEventLoop, _LoopState] = {}
        # What C writes into, under the lock.
        self._description = _native.Description(_native.DESCRIPTION_SIZE)
        self._pointer = ctypes.c_void_p()
        self._done = ctypes.c_int()
        self._to_pointer = ctypes.byref(self._pointer)
        self._to_done = ctypes.byref(self._done)

    async def run(self, client: Client, request: Request, answer: Answer) -> Pending:
        """Sends one call and awaits its end. When there is no room, waits for some first."""
        loop = asyncio.get_running_loop()
        state = self.state(loop)
        timeout, call = request.timeout, request.call
        deadline = math.inf if timeout is None else loop.time() + timeout
        waits = bool(state.waiters)
        waited = False
        while True:
            woken_blindly = False
            if waits:
                woken_blindly = await self._wait_for_room(loop, state, deadline, first=waited)
                waited = True
                if timeout is not None:
                    call = request.make_call(max(deadline - loop.time(), 0.001))
            pending = Pending(loop, request, answer)
            has_room, holds_room = True, False
            try:
                has_room = self._start(client, state, pending, call)
                holds_room = pending.status is None
            finally:
                # The next one's turn, unless this one found no room or keeps the little there was.
                if has_room and (woken_blindly or not holds_room):
                    _wake_one(state, blindly=woken_blindly)
            if pending.status is None:
                assert pending.future is not None
                pending.due = deadline
                self._tick_by(loop, state, min(deadline, loop.time() + _TICK))
                try:
                    await pending.future
                finally:
                    self._release(pending, state)
            # The sidecar says when another try is worth it. When nobody does, it is our side that
            # has no room; a long list may lose its own to another thread half way.
            if pending.status != Code.BUSY or (has_room and answer.report.retry_after_us > 0):
                return pending
            waits = True

    def state(self, loop: AbstractEventLoop) -> _LoopState:
        state = self._loops.get(loop)
        if state is None:
            with self._lock:
                self._forget_closed_loops()
                state = self._loops[loop] = _LoopState()
        return state

    def close(self) -> None:
        """Ends every call with Closed. What waits for room hears of it from the client."""
        with self._lock:
            for channel in tuple(self._channels.values()):
                for pending in tuple(channel):
                    if pending.status is None:
                        pending.end(Code.INVALID, make_closed())
                        self._tell(pending, None)

    def is_idle(self) -> bool:
        """Whether nothing is under way and no loop watches anything."""
        with self._lock:
            return not self._channels and not any(
                state.watched or state.waiters for state in self._loops.values()
            )

    # ---- under the lock ----

    def _start(
        self, client: Client, state: _LoopState, pending: Pending, call: _native.Call | None
    ) -> bool:
        """Begins a call, and leaves it under way or ended. False: there is no room for it."""
        library, answer = self._library, pending.answer
        with self._lock:
            status = client._run(
                getattr(library, f"nacelle_start_{pending.request.op}"),
                *pending.request.arguments(answer, call),
                self._description,
                self._to_pointer,
            )
            if status != Code.OK:
                error = make_error(status, library.error())
                if status in (Code.SIDECAR_GONE, Code.NOT_FOUND):
                    raise NotKnown(error)
                # These two may only say that the answer was made for the model before.
                if status in (Code.INVALID, Code.TOO_LARGE):
                    raise ModelChanged from error
                raise error
            pending.pointer = self._pointer.value
            try:
                if identity(self._description) != answer.service.identity:
                    raise ModelChanged
                self._advance(pending)
                if pending.status is None:
                    self._watch(pending, state)
            finally:
                if pending.future is None:
                    library.nacelle_pending_free(pending.pointer)
                    pending.pointer = None
        # No answer is so quick: this is our side, which has no slot or no room for the texts.
        return pending.status != Code.BUSY

    def _advance(self, pending: Pending) -> None:
        report = pending.answer.report
        status = self._library.nacelle_pending_advance(pending.pointer, self._to_done, report)
        if status != Code.OK:
            error = make_error(status, self._library.error(), retry_after_us=report.retry_after_us)
            pending.end(status, error)
        elif self._done.value:
            pending.end(status, None)

    def _watch(self, pending: Pending, state: _LoopState) -> None:
        loop = pending.loop
        fd: int = self._library.nacelle_pending_fd(pending.pointer)
        if fd not in state.watched:
            loop.add_reader(fd, self._on_readable, loop, fd)
            state.watched[fd] = 0
        state.watched[fd] += 1
        pending.fd = fd
        pending.future = loop.create_future()
        self._channels.setdefault(fd, {})[pending] = None

    def _advance_all(self, fd: int, running: AbstractEventLoop) -> None:
        # A copy: the garbage collector may release others meanwhile.
        for pending in tuple(self._channels.get(fd, ())):
            if pending.status is None and pending.pointer is not None:
                self._advance(pending)
                if pending.status is not None:
                    self._tell(pending, running)

    def _tell(self, pending: Pending, running: AbstractEventLoop | None) -> None:
        """Wakes whoever awaits a call that has ended."""
        assert pending.future is not None
        if pending.loop is running:
            _set_done(pending.future)
            return
        try:
            pending.loop.call_soon_threadsafe(_set_done, pending.future)
        except RuntimeError:  # the loop is closed: nobody awaits it any more
            self._free(pending)

    def _free(self, pending: Pending) -> None:
        channel = self._channels[pending.fd]
        del channel[pending]
        if not channel:
            del self._channels[pending.fd]
        self._library.nacelle_pending_free(pending.pointer)
        pending.pointer = None

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._loops if loop.is_closed()]:
            del self._loops[loop]
        for channel in tuple(self._channels.values()):
            for pending in tuple(channel):
                if pending.loop.is_closed() and pending.pointer is not None:
                    self._free(pending)

    # ---- in the thread of the loop ----

    def _release(self, pending: Pending, state: _LoopState) -> None:
        """Forgets a call, ended or not; what has not ended is given up."""
        # In a forked child the memory of the call is not there, and the loop's epoll is the
        # parent's: leave both alone.
        if os.getpid() != self.process:
            return
        with self._lock:
            if pending.pointer is None:
                return
            fd = pending.fd
            state.watched[fd] -= 1
            if state.watched[fd] == 0:
                del state.watched[fd]
                if not pending.loop.is_closed():
                    pending.loop.remove_reader(fd)
            self._free(pending)
        _wake_one(state, blindly=False)

    def _on_readable(self, loop: AbstractEventLoop, fd: int) -> None:
        if os.getpid() == self.process:
            with self._lock:
                self._advance_all(fd, loop)

    async def _wait_for_room(
        self, loop: AbstractEventLoop, state: _LoopState, deadline: float, *, first: bool
    ) -> bool:
        """Until it is this call's turn to try. True: there may be room for more than this one.

        first: it has waited before, and keeps its place.
        """
        waiter: asyncio.Future[bool] = loop.create_future()
        entry = (waiter, deadline)
        if first:
            state.waiters.appendleft(entry)
        else:
            state.waiters.append(entry)
        self._tick_by(loop, state, loop.time() + _ROOM_TICK)
        try:
            return await waiter
        except asyncio.CancelledError:
            if entry in state.waiters:
                state.waiters.remove(entry)
            else:  # it was its turn, which is another's now
                _wake_one(state, blindly=True)
            raise

    def _tick_by(self, loop: AbstractEventLoop, state: _LoopState, due: float) -> None:
        """Makes the clock tick at `due` or earlier."""
        if state.timer is not None:
            if state.timer.when() <= due:
                return
            state.timer.cancel()
        state.timer = loop.call_at(due, self._on_tick, loop, state)

    def _on_tick(self, loop: AbstractEventLoop, state: _LoopState) -> None:
        state.timer = None
        if os.getpid() != self.process:
            return
        due = math.inf
        with self._lock:
            for fd in tuple(state.watched):
                self._advance_all(fd, loop)
            for channel in self._channels.values():
                for pending in channel:
                    if pending.loop is loop and pending.status is None:
                        due = min(due, pending.due)
        now = loop.time()
        while state.waiters and _is_over(*state.waiters[0], now):
            state.waiters.popleft()
        for waiter, deadline in tuple(state.waiters):
            _is_over(waiter, deadline, now)
        _wake_one(state, blindly=True)
        if state.watched:
            # C began to count a little later: a deadline that has passed may be still ahead there.
            self._tick_by(loop, state, min(max(due, now + 0.001), now + _TICK))
        if state.waiters:
            self._tick_by(loop, state, now + _ROOM_TICK)


def _set_done(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled
        future.set_result(None)


def _wake_one(state: _LoopState, *, blindly: bool) -> None:
    while state.waiters:
        waiter, _ = state.waiters.popleft()
        if not waiter.done():
            waiter.set_result(blindly)
            return


def _is_over(waiter: asyncio.Future[bool], deadline: float, now: float) -> bool:
    """Whether a waiter waits no more; if its time is up, that is why."""
    if not waiter.done() and deadline <= now:
        waiter.set_exception(
            make_error(
                Code.DEADLINE_EXCEEDED,
                "no room for the call within its timeout: all slots of this connection "
                "(transport.slots), or all of its memory for requests "
                "(transport.request_arena_bytes), are in use",
            )
        )
    return waiter.done()
