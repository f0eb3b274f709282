"""One embed(), classify() or rerank(), on its way into the C library and back: what the calls that
wait and the calls that are awaited have in common.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import _native
from .answers import Answer, Op, Service
from .arguments import address
from .errors import Code, Error, invalid_input, make_error
from .options import Options, count
from .results import Classification, Ranked
from .texts import Packed, pack

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
        options: Options = Options(),  # noqa: B008  # it cannot be changed
        *,
        query: str | None = None,  # of rerank
        top: int | None = None,  # of classify and rerank: so many of the best
    ) -> None:
        if on_error not in ("raise", "return"):
            raise ValueError(f'on_error is {on_error!r}; it must be "raise" or "return"')
        self.op: Op = op
        self.service = service
        self.timeout = timeout
        self._options = options
        self.call = self.make_call(timeout)
        self._top = None if top is None else count("top_n" if op == "rerank" else "top_k", top)
        self._one_text = isinstance(texts, str)
        self._raises = on_error == "raise"
        if op == "rerank" and self._one_text:
            raise TypeError("documents is a str; pass a list of them")
        self._list = "documents" if op == "rerank" else "texts"
        self._packed = pack(texts, keep_bad=not self._raises, name=self._list)
        self._query = None if query is None else _pack_query(query)

    def make_call(self, timeout: float | None) -> _native.Call | None:
        """The nacelle_call, with this many seconds for the answer."""
        return self._options.native(timeout)

    def make_answer(self, service: Service) -> Answer:
        """Room for what this service answers; InvalidInput when it does not do this."""
        width = service.width(self.op)
        if width == 0:
            others = " and ".join(f"{op}()" for op in service.ops())
            raise invalid_input(
                f'service "{service.description.service}" does not {self.op}; it answers {others}'
            )
        if self._options.dimensions > width:
            raise invalid_input(
                f"dimensions is {self._options.dimensions}; the embeddings of "
                f'"{service.description.service}" have {width} numbers'
            )
        elements, kind = self._options.row(width)
        length = len(self._packed.table)
        rows = np.empty((length, elements), kind)
        items = np.empty(length, _native.ITEM)
        return Answer(service, rows, items, _native.Report(_native.REPORT_SIZE))

    def arguments(self, answer: Answer, call: _native.Call | None) -> tuple[Any, ...]:
        """What every C function that sends this takes, between the client and what differs.

        They are addresses: the request and the answer must outlive the call.
        """
        table, rows = self._packed.table, answer.rows
        return (
            answer.service.name,
            *(() if self._query is None else (address(self._query.table),)),
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
            errors = answer.find_errors(self._list)
            if self._raises:
                raise next(iter(errors.values()))
            # Codes have no NaN: their rows stay the zeros that they are.
            if answer.rows.dtype.kind == "f":
                answer.rows[list(errors)] = np.nan
        return answer

    def vectors(self, answer: Answer, report: bool) -> Any:
        """What embed() returns."""
        vectors: NDArray[Any] = answer.rows[0] if self._one_text else answer.rows
        return (vectors, answer.make_report()) if report else vectors

    def labels(self, answer: Answer, report: bool) -> Any:
        """What classify() returns."""
        results = answer.classifications(self._top)
        result: Classification | list[Classification] = results[0] if self._one_text else results
        return (result, answer.make_report()) if report else result

    def ranking(self, answer: Answer, report: bool) -> Any:
        """What rerank() returns."""
        result: list[Ranked] = answer.ranking(self._top)
        return (result, answer.make_report()) if report else result

    def model_keeps_changing(self) -> Error:
        return make_error(
            Code.UNAVAILABLE,
            f'the model of service "{self.service}" changed {MODEL_CHANGES_MAX} times during one '
            "call; try again when the sidecar is at rest",
        )


def _pack_query(query: str) -> Packed:
    if not isinstance(query, str):
        raise TypeError(f"query is {type(query).__name__}, not str")
    return pack((query,), keep_bad=False, name="query")
