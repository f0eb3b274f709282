"""One embed() or classify(), on its way into the C library and back: what the calls that wait and
the calls that are awaited have in common.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _native
from .answers import Answer, Op, Service
from .arguments import address, milliseconds
from .errors import Code, Error, invalid_input, make_error
from .results import Classification, Report
from .texts import pack

OnError = Literal["raise", "return"]

# A call starts over when the sidecar came back with another model during it; so often at most.
MODEL_CHANGES_MAX = 3


class Request:
    """What was asked, checked and packed."""

    def __init__(
        self,
        op: Op,
        service: str,
        texts: str | Iterable[str],
        timeout: float | None,
        on_error: OnError,
    ) -> None:
        if on_error not in ("raise", "return"):
            raise ValueError(f'on_error is {on_error!r}; it must be "raise" or "return"')
        self.op: Op = op
        self.service = service
        self.timeout = timeout
        self.call = None if timeout is None else native_call(timeout)
        self._one_text = isinstance(texts, str)
        self._raises = on_error == "raise"
        self._packed = pack(texts, keep_bad=not self._raises)

    def make_answer(self, service: Service) -> Answer:
        """Room for what this service answers; InvalidInput when it does not do this."""
        width = service.width(self.op)
        if width == 0:
            other = "classify" if self.op == "embed" else "embed"
            raise invalid_input(
                f'service "{service.description.service}" does not {self.op}; it answers {other}()'
            )
        count = len(self._packed.table)
        rows = np.empty((count, width), np.float32)
        items = np.empty(count, _native.ITEM)
        return Answer(service, rows, items, _native.Report(_native.REPORT_SIZE))

    def arguments(self, answer: Answer, call: _native.Call | None) -> tuple[Any, ...]:
        """What every C function that sends this takes, between the client and what differs.

        They are addresses: the request and the answer must outlive the call.
        """
        table, rows = self._packed.table, answer.rows
        return (
            answer.service.name,
            address(table),
            len(table),
            call,
            address(rows),
            rows.size,
            address(answer.items),
        )

    def check(self, answer: Answer) -> Answer:
        """Deals with the texts that failed alone, as on_error says."""
        if answer.report.items_failed:
            errors = answer.find_errors()
            if self._raises:
                raise next(iter(errors.values()))
            answer.rows[list(errors)] = np.nan
        return answer

    def vectors(
        self, answer: Answer, report: bool
    ) -> NDArray[np.float32] | tuple[NDArray[np.float32], Report]:
        """What embed() returns."""
        vectors: NDArray[np.float32] = answer.rows[0] if self._one_text else answer.rows
        return (vectors, answer.make_report()) if report else vectors

    def labels(self, answer: Answer, report: bool) -> Any:
        """What classify() returns."""
        results = answer.classifications()
        result: Classification | list[Classification] = results[0] if self._one_text else results
        return (result, answer.make_report()) if report else result

    def model_keeps_changing(self) -> Error:
        return make_error(
            Code.UNAVAILABLE,
            f'the model of service "{self.service}" changed {MODEL_CHANGES_MAX} times during one '
            "call; try again when the sidecar is at rest",
        )


def native_call(timeout: float) -> _native.Call:
    """A nacelle_call with this many seconds for the answer."""
    return _native.Call(_native.CALL_SIZE, milliseconds(timeout, "timeout", zero_allowed=False))
