"""Running coroutines in tests: with a bound, and with a look at what they leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sidecar import SECONDS_MAX

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """asyncio.run() that ends, and that fails when the loop still watches a descriptor."""

    async def bounded() -> T:
        before = watched()
        try:
            return await asyncio.wait_for(coroutine, SECONDS_MAX)
        finally:
            assert watched() == before, "the loop still watches a connection"

    return asyncio.run(bounded())


def watched() -> set[int]:
    """The descriptors that the running loop watches, its own included."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    return set(selector.get_map())


async def until_watched() -> None:
    """Returns when another task's call is under way."""
    alone = 1  # the loop's own
    while len(watched()) <= alone:
        await asyncio.sleep(0)
