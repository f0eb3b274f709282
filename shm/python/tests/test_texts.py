"""What may be passed as texts, how it arrives in C, and what is said about the rest."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nacelle
from nacelle.texts import pack


def arrived(texts: Any) -> list[bytes]:
    """The texts as C finds them: by following the table's addresses."""
    packed = pack(texts, keep_bad=False)
    return [ctypes.string_at(int(address), int(size)) for address, size in packed.table]


@pytest.mark.parametrize(
    "texts",
    [
        ["one"],
        [""],
        ["", "", ""],
        ["a", "", "bc", "긍정적인 리뷰", "\U0001f600", "nul\0inside", ""],
        ["x" * 1_000_000, "y"],
        [f"text {i}" for i in range(1000)],
    ],
    ids=["one", "empty", "all empty", "mixed", "long", "many"],
)
def test_every_text_arrives_with_all_its_bytes(texts: list[str]) -> None:
    assert arrived(texts) == [text.encode() for text in texts]


def test_a_str_is_one_text() -> None:
    assert arrived("one text") == [b"one text"]


def test_any_iterable_of_str_is_taken() -> None:
    assert arrived(letter for letter in "ab") == [b"a", b"b"]
    assert arrived({"a": 1, "b": 2}.keys()) == [b"a", b"b"]
    assert arrived(np.array(["a", "bc"])) == [b"a", b"bc"]


@pytest.mark.parametrize("texts", [[], (), iter([])], ids=["list", "tuple", "iterator"])
def test_no_text_at_all_is_refused_with_what_to_do(texts: Any) -> None:
    with pytest.raises(nacelle.InvalidInput, match="pass at least one text"):
        pack(texts, keep_bad=False)


@pytest.mark.parametrize("item", [None, 3, 1.5, ["nested"]])
def test_an_item_that_is_not_a_str_is_named_with_its_index_and_type(item: Any) -> None:
    with pytest.raises(TypeError, match=rf"texts\[2\] is {type(item).__name__}, not str"):
        pack(["a", "b", item, "c"], keep_bad=True)


def test_bytes_are_refused_with_the_way_to_decode_them() -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] is bytes, not str; decode it first"):
        pack(["a", b"b"], keep_bad=False)  # type: ignore[list-item]
    with pytest.raises(TypeError, match="texts is bytes, not str; decode it first"):
        pack(b"b", keep_bad=False)  # type: ignore[arg-type]


def test_what_is_no_iterable_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match="texts is int; pass a str or an iterable of str"):
        pack(7, keep_bad=False)  # type: ignore[arg-type]


def test_an_error_inside_the_callers_own_generator_stays_the_callers() -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        pack(broken(), keep_bad=False)


def test_a_lone_surrogate_is_named_with_its_index_character_and_byte() -> None:
    with pytest.raises(nacelle.InvalidInput, match=r"texts\[1\].*character 2.*U\+D83D") as caught:
        pack(["fine", "é긍\ud83d!"], keep_bad=False)
    assert (caught.value.index, caught.value.byte) == (1, 5)


def test_a_lone_surrogate_can_be_kept_for_the_sidecar_to_refuse() -> None:
    packed = pack(["fine", "a\ud83d"], keep_bad=True)
    assert packed.blob == b"finea\xed\xa0\xbd"
    assert packed.table[:, 1].tolist() == [4, 4]
