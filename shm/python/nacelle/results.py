"""What the calls of Client return, besides numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import Error


@dataclass(frozen=True)
class Description:
    """What a service answers with."""

    service: str
    embed_width: int  # floats per embedding; 0: the service does not embed
    labels: tuple[str, ...]  # in the model's order; empty: the service does not classify
    tokens_max: int  # tokens per text, special ones included; for longer texts see long_input
    multi_label: bool  # True: scores are independent and do not sum to 1
    digest: str  # SHA-256 of the model, lower-case hex
    architecture: str  # e.g. "bert"
    reranks: bool  # True: rerank()
    long_input: str  # what happens to longer texts unless a call says: "truncate", "reject", ...
    windows_max: int  # that "chunk_mean" cuts one text into
    prompts: tuple[str, ...]  # names for embed(prompt_name=)


class Classification(NamedTuple):
    """The labels of one text. A tuple for its speed: read it by name, fields may be added."""

    label: str  # the one with the highest score; "" when there is an error
    score: float  # its probability, 0 to 1, or what was asked for; NaN when there is an error
    scores: dict[str, float]  # of every label, in the model's order; with top_k the best ones first
    truncated: bool  # True: only the first tokens_max tokens were read
    tokens: int  # computed, special ones included
    error: Error | None  # why this text was refused, with on_error="return"


class Ranked(NamedTuple):
    """A document in a ranking."""

    document: int  # its index in the list of documents
    score: float  # how well it answers the query: a probability, 0 to 1; with raw a logit


@dataclass(frozen=True, eq=False)
class Report:
    """What happened to one call with `count` texts. A single str counts as one text.

    Of a rerank the texts are the documents, each with the query before it.
    """

    queue_us: int  # microseconds spent waiting for a batch
    compute_us: int  # microseconds spent in batches
    batch_texts: int  # texts in the largest batch that held one of ours, other clients' included
    batch_clients: int  # client processes in that batch
    items_cached: int  # texts whose answers were read in the cache, without asking the sidecar
    tokens: NDArray[np.uint32]  # [count] tokens computed, special ones included
    truncated: NDArray[np.bool_]  # [count] True: the text was longer than the model reads
    windows: NDArray[np.uint32]  # [count] parts that were computed: 1, with "chunk_mean" more
    # [count] tokens of the whole text. 0: truncated by a call that does not say long_input, so
    # nobody counted. Counted up to windows_max windows: a text may have more than the largest.
    tokens_total: NDArray[np.uint32]
    errors: dict[int, Error]  # by index: the texts that were refused, with on_error="return"
