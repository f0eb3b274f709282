"""bench/transport: goals are met or missed by a factor, and turns are compared one by one."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path[:0] = [str(BENCH / "support"), str(BENCH / "transport"), str(BENCH)]

import machine  # noqa: E402
import transport  # noqa: E402
from contenders import WAYS, absent  # noqa: E402
from goals import at_least, at_most  # noqa: E402


@pytest.mark.parametrize("goal, verdict", [
    (at_most("a", 2.0, 2.0), "met"),
    (at_most("a", 3.0, 2.0), "missed by 1.50x"),
    (at_least("a", 200, 200), "met"),
    (at_least("a", 50, 200), "missed by 4.00x"),
    (at_most("rescued", 0, 0), "met"),
    (at_most("rescued", 1, 0), "missed"),
    (at_most("nothing measured", float("nan"), 1), "missed by nanx"),
])
def test_a_goal_says_by_how_much_it_is_missed(goal, verdict):
    assert goal.verdict == verdict
    assert goal.line().endswith(verdict)
    assert goal.row("transport")["met"] == (verdict == "met")


def test_a_ratio_compares_the_sides_of_each_turn():
    near, far = {"p50": 1.0}, {"p50": 4.0}
    twice = [{"p50": 2 * turn["p50"]} for turn in (near, far, far)]
    assert transport.ratio(twice, [near, far, far]) == 2.0


def test_the_machine_is_named():
    about = machine.about()
    assert about["commit"] and about["cpu"] and about["kernel"] and about["cpus"] >= 1


def test_a_peer_that_is_not_built_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("contenders.BUILD", tmp_path)
    assert "libgrpc++-dev" in absent(WAYS["grpc_queue"])
    assert all(absent(way) for way in WAYS.values())
