"""bench/support/rows.py writes the same rows as bench/harness.h."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench/support"))

import rows  # noqa: E402

KEYS = ["bench", "case", "unit", "ours", "ours_min", "ours_max", "peer", "peer_name", "ratio",
        "bound", "bound_name", "runs"]


def a_row(ours, peer, less_is_better, case="c"):
    return rows.row("b", case, "u", ours, peer, "them", 1.0, "physics", less_is_better)


def test_a_row_has_the_median_and_the_extremes_of_ours():
    row = a_row([3.0, 1.0, 8.0], [6.0], less_is_better=True)
    assert (row["ours"], row["ours_min"], row["ours_max"], row["runs"]) == (3.0, 1.0, 8.0, 3)


@pytest.mark.parametrize("less_is_better, ratio", [(True, 2.0), (False, 0.5)])
def test_a_ratio_above_1_means_that_we_win(less_is_better, ratio):
    assert a_row([3.0], [5.0, 6.0, 7.0], less_is_better)["ratio"] == ratio


def test_without_a_peer_there_is_no_ratio_and_no_name():
    row = a_row([3.0], [], less_is_better=True)
    assert (row["peer"], row["ratio"], row["peer_name"]) == (None, None, "-")


def test_the_file_has_an_object_per_line_with_every_key(tmp_path):
    rows.write(tmp_path / "rows", [a_row([1.0], [], True), a_row([2.0], [4.0], True, "d")])
    lines = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert [list(line) for line in lines] == [KEYS, KEYS]
    assert [line["ours"] for line in lines] == [1.0, 2.0]


def test_a_later_part_replaces_its_own_rows_and_keeps_the_others(tmp_path):
    rows.write(tmp_path / "rows", [a_row([1.0], [], True), a_row([2.0], [], True, "d")])
    rows.write(tmp_path / "rows", [a_row([3.0], [], True, "d"), a_row([4.0], [], True, "e")])
    lines = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert [(line["case"], line["ours"]) for line in lines] == [("c", 1.0), ("d", 3.0), ("e", 4.0)]
