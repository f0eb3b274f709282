"""What calls may ask for: how it arrives in the C library (over the double), and what a real
sidecar with small models answers, held to what sentence-transformers recorded.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BUILD
from sidecar import DATA, Sidecar

import nacelle

NOTHING = "dtype 0 dimensions 0 normalize 0 function 0 long_input 0 cache 0 prompt NULL name NULL"


def call_of(knobs: ctypes.CDLL) -> str:
    return str(knobs.double_call().decode())


def with_(**fields: object) -> str:
    words = NOTHING.split()
    for name, value in fields.items():
        words[words.index(name) + 1] = str(value)
    return " ".join(words)


# ---- over the double ----


def test_what_is_not_asked_for_is_not_sent(client: nacelle.Client, knobs: ctypes.CDLL) -> None:
    client.embed("sizes", "a")
    assert call_of(knobs) == "none"
    client.classify("sizes", "a", timeout=1)
    assert call_of(knobs) == NOTHING
    client.classify("sizes", "a", top_k=1)
    assert call_of(knobs) == "none", "sorting is done on this side"


def test_every_option_arrives_by_its_number(client: nacelle.Client, knobs: ctypes.CDLL) -> None:
    def sent(**options: Any) -> str:
        client.embed("wide", "a", **options)
        return call_of(knobs)

    for number, dtype in enumerate(["float16", "int8", "binary", "ubinary"], start=1):
        assert sent(dtype=dtype, dimensions=8) == with_(dtype=number, dimensions=8)
    assert sent(normalize=False) == with_(normalize=1)
    assert sent(normalize=True) == with_(normalize=2)
    assert sent(prompt="é") == with_(prompt="é")
    assert sent(prompt_name="query") == with_(name="query")
    for number, policy in enumerate(["truncate", "reject", "chunk_mean"], start=1):
        assert sent(long_input=policy) == with_(long_input=number)

    functions: list[Any] = ["softmax", "sigmoid", "none"]
    for number, function in enumerate(functions, start=1):
        client.classify("sizes", "a", function=function)
        assert call_of(knobs) == with_(function=number)
    client.classify("sizes", "a", raw=True)
    assert call_of(knobs) == with_(function=3)
    client.rerank("ranks", "q", ["a"], raw=True, long_input="reject")
    assert call_of(knobs) == with_(function=3, long_input=2)


def test_every_call_says_what_to_do_with_the_cache(
    client: nacelle.Client, knobs: ctypes.CDLL
) -> None:
    modes: list[Any] = ["use", "bypass", "read_only", "refresh"]
    for number, mode in enumerate(modes, start=1):
        client.embed("sizes", "a", cache=mode)
        assert call_of(knobs) == with_(cache=number)
        client.classify("sizes", "a", cache=mode)
        assert call_of(knobs) == with_(cache=number)
        client.rerank("ranks", "q", ["a"], cache=mode)
        assert call_of(knobs) == with_(cache=number)
    wrong: Any = "always"
    with pytest.raises(nacelle.InvalidInput, match="cache is 'always'; it must be one of use, "):
        client.embed("sizes", "a", cache=wrong)


def test_rows_have_the_type_and_the_shape_of_their_dtype(client: nacelle.Client) -> None:
    def shape(**options: Any) -> tuple[Any, ...]:
        vectors = client.embed("wide", ["a", "b"], **options)
        return vectors.dtype.name, *vectors.shape

    assert shape(dtype="float16") == ("float16", 2, 16)
    assert shape(dtype="int8") == ("int8", 2, 16)
    assert shape(dtype="binary") == ("int8", 2, 2)
    assert shape(dtype="ubinary") == ("uint8", 2, 2)
    one = client.embed("wide", "a", dtype="int8", dimensions=4)
    assert one.tolist() == [1, 1, 1, 1]


def test_a_row_of_codes_that_failed_is_zeros(client: nacelle.Client) -> None:
    codes = client.embed("sizes", ["a", "\ud800"], dtype="int8", dimensions=2, on_error="return")
    assert codes.tolist() == [[1, 1], [0, 0]]
    halves = client.embed("sizes", ["\ud800"], dtype="float16", dimensions=2, on_error="return")
    assert np.isnan(halves).all()


def test_documents_come_ranked_best_first(client: nacelle.Client) -> None:
    ranks = client.rerank("ranks", "qq", ["a", "ccc", "bb", "ddd"])
    assert ranks == [(1, 5.0), (3, 5.0), (2, 4.0), (0, 3.0)]
    assert isinstance(ranks[0], nacelle.Ranked) and ranks[0].document == 1
    assert client.rerank("ranks", "qq", ["a", "ccc", "bb"], 1) == [(1, 5.0)]
    assert len(client.rerank("ranks", "qq", iter(["a", "b"]), top_n=10**6)) == 2
    ranks, report = client.rerank(
        "ranks", "", ["a", "\ud800", "bb"], on_error="return", report=True
    )
    assert ranks == [(2, 2.0), (0, 1.0)]
    assert list(report.errors) == [1]
    assert "documents[1]" in str(report.errors[1])


def test_labels_come_best_first_when_some_are_asked_for(client: nacelle.Client) -> None:
    result = client.classify("sizes", "tiny", top_k=2)
    assert list(result.scores) == ["short", "긍정"]
    assert result.label == "short"
    assert list(client.classify("sizes", "tiny", top_k=99).scores) == ["short", "긍정", "x" * 300]


def test_a_report_tells_windows_and_totals(client: nacelle.Client) -> None:
    _, report = client.embed("item:3", ["a", "b" * 20], on_error="return", report=True)
    assert report.windows.tolist() == [1, 0]
    assert report.tokens_total.tolist() == [1, 20]
    assert report.truncated.tolist() == [False, False]
    with pytest.raises(nacelle.TooLarge, match=r"texts\[1\] has more than 20 tokens; the limit is"):
        client.embed("item:3", ["a", "b" * 20])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"dtype": "float64"}, "dtype is 'float64'; it must be one of float32"),
    ({"dimensions": 0}, "dimensions is 0; it must be at least 1"),
    ({"dimensions": -3}, "dimensions is -3"),
    ({"dimensions": 2**32}, "dimensions is 4294967296"),
    ({"dimensions": 4}, r'dimensions is 4; the embeddings of "embeds" have 3 numbers'),
    ({"prompt": "a", "prompt_name": "b"}, "both given"),
    ({"prompt": "a\0b"}, "prompt has a NUL"),
    ({"prompt_name": "\ud800"}, "prompt_name is not valid Unicode"),
    ({"long_input": "service"}, "long_input is 'service'; it must be one of truncate"),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_what_cannot_be_is_refused_before_it_is_sent(
    client: nacelle.Client, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(nacelle.InvalidInput, match=words):
        client.embed("embeds", "a", **options)


def test_a_rerank_that_cannot_be_is_refused(client: nacelle.Client) -> None:
    with pytest.raises(nacelle.InvalidInput, match="documents is empty"):
        client.rerank("ranks", "q", [])
    with pytest.raises(nacelle.InvalidInput, match="top_n is 0"):
        client.rerank("ranks", "q", ["a"], top_n=0)
    with pytest.raises(nacelle.InvalidInput, match="top_k is -1"):
        client.classify("sizes", "a", top_k=-1)
    with pytest.raises(TypeError, match="documents is a str"):
        client.rerank("ranks", "q", "a")
    with pytest.raises(TypeError, match="query is list"):
        client.rerank("ranks", ["q"], ["a"])  # type: ignore[call-overload]
    with pytest.raises(nacelle.InvalidInput, match=r"query\[0\] is not valid Unicode"):
        client.rerank("ranks", "\ud800", ["a"])
    with pytest.raises(nacelle.InvalidInput, match=r'"sizes" does not rerank; it answers embed'):
        client.rerank("sizes", "q", ["a"])
    with pytest.raises(nacelle.InvalidInput, match="raw scores have no function"):
        client.classify("sizes", "a", raw=True, function="softmax")
    with pytest.raises(nacelle.InvalidInput, match="function is 'relu'"):
        client.classify("sizes", "a", function="relu")  # type: ignore[call-overload]


def test_coroutines_take_the_same_options(client: nacelle.Client, knobs: ctypes.CDLL) -> None:
    async def ask() -> None:
        engine = nacelle.AsyncClient(client)
        codes = await engine.embed("wide", ["a"], dtype="int8", dimensions=4, timeout=5)
        assert codes.tolist() == [[1, 1, 1, 1]]
        assert call_of(knobs) == with_(dtype=2, dimensions=4)
        assert list((await engine.classify("sizes", "tiny", top_k=1, raw=True)).scores) == ["short"]
        assert call_of(knobs) == with_(function=3)
        assert await engine.rerank("ranks", "qq", ["a", "bb"], 1) == [(1, 4.0)]
        # Refused at first for want of a slot, then with what is left of the time, and all options.
        vectors = await engine.embed("full:1", "a", normalize=True, timeout=5)
        assert vectors.tolist() == [1, ord("a"), 0]
        assert call_of(knobs) == with_(normalize=2)

    asyncio.run(ask())


# ---- with a sidecar ----


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nacelle.Client]:
    if BUILD is None:
        pytest.skip("NACELLE_BUILD names no build directory, so there is no nacelled to test")
    sidecar = Sidecar(
        tmp_path_factory.mktemp("tiny"),
        services={
            "embed": {
                "model": str(DATA / "tiny-bert"),
                "prompts": {"task": "this is a text: "},
                "long_input": "reject",
            },
            "labels": str(DATA / "tiny-classifier"),
            "rank": str(DATA / "tiny-reranker"),
        },
    )
    sidecar.start()
    with sidecar.connect() as client:
        yield client
    sidecar.kill()


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_ranks_are_those_of_cross_encoder(tiny: nacelle.Client) -> None:
    recorded = read(DATA / "tiny-reranker" / "reference.json")
    for item in recorded["items"]:
        ranks = tiny.rerank("rank", item["query"], recorded["documents"])
        scores = np.array([score for _, score in sorted(ranks)])
        assert np.abs(scores - np.array(item["scores"])).max() < 1e-5
        best = tiny.rerank("rank", item["query"], recorded["documents"], top_n=3, raw=True)
        assert [rank.document for rank in best] == item["top_3"]
        assert abs(best[0].score - max(item["raw"])) < 1e-5


def test_codes_are_those_of_numpy(tiny: nacelle.Client) -> None:
    texts = [item["text"] for item in read(DATA / "tiny-bert" / "embeddings.json")["items"]]
    vectors = tiny.embed("embed", texts)
    halves = tiny.embed("embed", texts, dtype="float16")
    np.testing.assert_array_equal(halves, vectors.astype(np.float16))
    bits = tiny.embed("embed", texts, dtype="ubinary")
    np.testing.assert_array_equal(bits, np.packbits(vectors > 0, axis=1))
    signed = tiny.embed("embed", texts, dtype="binary")
    np.testing.assert_array_equal(signed, (bits.astype(np.int16) - 128).astype(np.int8))
    eights = tiny.embed("embed", texts, dtype="int8")
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    np.testing.assert_array_equal(eights, np.rint(vectors / largest * np.float32(127)))
    # What the README says can be computed with them.
    codes = eights.astype(np.float32)
    directions = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    assert np.abs(directions - vectors).max() < 0.01
    short = tiny.embed("embed", texts, dimensions=16)
    cut = vectors[:, :16] / np.linalg.norm(vectors[:, :16], axis=1, keepdims=True)
    assert np.abs(short - cut).max() < 1e-6


def test_prompts_and_long_texts(tiny: nacelle.Client) -> None:
    about = tiny.describe("embed")
    assert (about.prompts, about.long_input) == (("task",), "reject")
    assert tiny.describe("rank").reranks and not about.reranks
    np.testing.assert_array_equal(
        tiny.embed("embed", "the cat", prompt_name="task"),
        tiny.embed("embed", "this is a text: the cat"),
    )
    with pytest.raises(nacelle.NotFound, match="there are: task"):
        tiny.embed("embed", "a", prompt_name="other")
    long = "cat " * 20_000
    with pytest.raises(nacelle.TooLarge, match=r"texts\[1\] has more than .* the limit is 24"):
        tiny.embed("embed", ["a", long])
    vectors, report = tiny.embed("embed", ["a", "cat " * 100], long_input="chunk_mean", report=True)
    assert report.windows.tolist() == [1, 5] and report.tokens_total.tolist() == [3, 102]
    assert abs(np.linalg.norm(vectors[1]) - 1) < 1e-6
    result = tiny.classify("labels", long, long_input="truncate")
    assert result.truncated and result.tokens == 24
    with pytest.raises(nacelle.InvalidInput, match="rerank does not cut documents"):
        tiny.rerank("rank", "q", ["a"], long_input="chunk_mean")
    with pytest.raises(nacelle.InvalidInput, match="multiple of 8"):
        tiny.embed("embed", "a", dtype="binary", dimensions=12)


def test_raw_scores_are_the_logits(tiny: nacelle.Client) -> None:
    for item in read(DATA / "tiny-classifier" / "reference.json")["items"]:
        result = tiny.classify("labels", item["text"], raw=True)
        assert np.abs(np.array(list(result.scores.values())) - item["logits"]).max() < 1e-4


def test_coroutines_give_the_same_answers(tiny: nacelle.Client) -> None:
    async def ask() -> None:
        engine = nacelle.AsyncClient(tiny)
        documents = ["the cat", "a film", "bad end!"]
        ranks, report = await engine.rerank("rank", "good cat", documents, raw=True, report=True)
        assert ranks == tiny.rerank("rank", "good cat", documents, raw=True)
        assert report.tokens.shape == (3,)
        codes = await engine.embed("embed", documents, dtype="ubinary", prompt_name="task")
        np.testing.assert_array_equal(
            codes, tiny.embed("embed", documents, dtype="ubinary", prompt_name="task")
        )

    asyncio.run(ask())
