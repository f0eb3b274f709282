"""What the C library wrote for one call, and how it becomes what the caller gets."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _native
from .errors import Code, Error, invalid_input, make_error
from .results import Classification, Description, Report

Op = Literal["embed", "classify"]


class Service(NamedTuple):
    """A service as the client remembers it."""

    name: bytes
    identity: tuple[object, ...]  # identity() of its nacelle_description
    description: Description

    def width(self, op: Op) -> int:
        """Floats per row; 0: the service does not do this."""
        description = self.description
        return description.embed_width if op == "embed" else len(description.labels)


def identity(native: _native.Description) -> tuple[object, ...]:
    """Equal for two descriptions when rows of the one can be read with the other."""
    return native.digest, native.embed_width, native.labels, native.multi_label


class Answer:
    """What the C library wrote for one call of `count` texts."""

    def __init__(
        self,
        service: Service,
        rows: NDArray[np.float32],  # [count, width]
        items: NDArray[np.void],  # [count] _native.ITEM
        report: _native.Report,
    ) -> None:
        self.service = service
        self.rows = rows
        self.items = items
        self.report = report
        self.errors: dict[int, Error] = {}  # by index

    def find_errors(self) -> dict[int, Error]:
        """Fills `errors` from the items, in their order."""
        for index in np.flatnonzero(self.items["status"]).tolist():
            status, _, _, detail, _ = self.items[index].item()
            if status == Code.INVALID:
                self.errors[index] = invalid_input(
                    f"texts[{index}] is not valid UTF-8 at byte {detail}", index=index, byte=detail
                )
            else:
                self.errors[index] = make_error(
                    status, f"texts[{index}] was not answered: {_code_name(status)}"
                )
        return self.errors

    def make_report(self) -> Report:
        return Report(
            queue_us=self.report.queue_us,
            compute_us=self.report.compute_us,
            batch_texts=self.report.batch_texts,
            batch_clients=self.report.batch_clients,
            tokens=self.items["tokens"].copy(),
            truncated=self.items["truncated"] != 0,
            errors=self.errors,
        )

    def classifications(self) -> list[Classification]:
        labels = self.service.description.labels
        results = []
        # tolist() makes plain numbers in C: several times faster than asking numpy one by one.
        for index, (row, item) in enumerate(zip(self.rows.tolist(), self.items.tolist())):
            _, truncated, tokens, _, _ = item
            error = self.errors.get(index)
            score = max(row)
            label = "" if error else labels[row.index(score)]
            results.append(
                Classification(label, score, dict(zip(labels, row)), bool(truncated), tokens, error)
            )
        return results


def _code_name(status: int) -> str:
    return Code(status).name.lower() if status in Code._value2member_map_ else f"status {status}"
