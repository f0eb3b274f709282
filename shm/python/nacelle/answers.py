"""What the C library wrote for one call, and how it becomes what the caller gets."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _native
from .errors import Code, Error, invalid_input, make_error
from .results import Classification, Description, Ranked, Report

Op = Literal["embed", "classify", "rerank"]


class Service(NamedTuple):
    """A service as the client remembers it."""

    name: bytes
    identity: tuple[object, ...]  # identity() of its nacelle_description
    description: Description

    def width(self, op: Op) -> int:
        """Numbers per row; 0: the service does not do this."""
        description = self.description
        if op == "rerank":
            return int(description.reranks)
        return description.embed_width if op == "embed" else len(description.labels)

    def ops(self) -> list[Op]:
        """What the service does."""
        every: tuple[Op, ...] = ("embed", "classify", "rerank")
        return [op for op in every if self.width(op) > 0]


def identity(native: _native.Description) -> tuple[object, ...]:
    """Equal for two descriptions when rows of the one can be read with the other."""
    return (
        native.digest,
        native.embed_width,
        native.labels,
        native.multi_label,
        native.reranks,
    )


class Answer:
    """What the C library wrote for one call of `count` texts."""

    def __init__(
        self,
        service: Service,
        rows: NDArray[Any],  # [count, elements]
        items: NDArray[np.void],  # [count] _native.ITEM
        report: _native.Report,
    ) -> None:
        self.service = service
        self.rows = rows
        self.items = items
        self.report = report
        self.errors: dict[int, Error] = {}  # by index

    def find_errors(self, name: str) -> dict[int, Error]:
        """Fills `errors` from the items, in their order. name: of the list they are in."""
        for index in np.flatnonzero(self.items["status"]).tolist():
            status, flags, _, detail, total = self.items[index].item()
            what = f"{name}[{index}]"
            if status == Code.INVALID:
                self.errors[index] = invalid_input(
                    f"{what} is not valid UTF-8 at byte {detail}", index=index, byte=detail
                )
            elif status == Code.TOO_LARGE:
                more = "more than " if flags & _MORE_TOKENS else ""
                self.errors[index] = make_error(
                    status,
                    f"{what} has {more}{total} tokens; the limit is {detail}: shorten it, or pass "
                    "another long_input",
                )
            else:
                self.errors[index] = make_error(
                    status, f"{what} was not answered: {_code_name(status)}"
                )
        return self.errors

    def make_report(self) -> Report:
        return Report(
            queue_us=self.report.queue_us,
            compute_us=self.report.compute_us,
            batch_texts=self.report.batch_texts,
            batch_clients=self.report.batch_clients,
            items_cached=self.report.items_cached,
            tokens=self.items["tokens"].copy(),
            truncated=(self.items["truncated"] & _TRUNCATED) != 0,
            windows=np.where(self.items["status"] == 0, self.items["detail"], np.uint32(0)),
            tokens_total=self.items["tokens_total"].copy(),
            errors=self.errors,
        )

    def classifications(self, top_k: int | None) -> list[Classification]:
        labels = self.service.description.labels
        results = []
        # tolist() makes plain numbers in C: several times faster than asking numpy one by one.
        for index, (row, item) in enumerate(zip(self.rows.tolist(), self.items.tolist())):
            _, flags, tokens, _, _ = item
            error = self.errors.get(index)
            score = max(row)
            label = "" if error else labels[row.index(score)]
            scores = dict(zip(labels, row))
            if top_k is not None:
                best = sorted(scores.items(), key=lambda pair: -pair[1])  # stable
                scores = dict(best[:top_k])
            results.append(
                Classification(label, score, scores, bool(flags & _TRUNCATED), tokens, error)
            )
        return results

    def ranking(self, top_n: int | None) -> list[Ranked]:
        scores = self.rows[:, 0].tolist()
        answered = [index for index in range(len(scores)) if index not in self.errors]
        answered.sort(key=lambda index: -scores[index])  # stable
        return [Ranked(index, scores[index]) for index in answered[:top_n]]


# Bits of nacelle_item.truncated.
_TRUNCATED = 1
_MORE_TOKENS = 2


def _code_name(status: int) -> str:
    return Code(status).name.lower() if status in Code._value2member_map_ else f"status {status}"
