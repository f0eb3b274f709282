"""The slot machine in Spin: slots.pml as it is, and with one thing broken at a time."""

import os
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("slots.pml")

# What BUG=n breaks, and how Spin tells: an assertion, or somebody who waits for ever.
BUGS = {
    1: ("the payload is written behind the generation", "assertion violated"),
    2: ("the client asks whether to ring before it publishes", "invalid end state"),
    3: ("the client does not compare the generation", "assertion violated"),
    4: ("the client sleeps without raising `waiting`", "invalid end state"),
    5: ("the client sleeps on a word that it read too late", "invalid end state"),
    6: ("a slot that was given up is used again before its answer", "assertion violated"),
    7: ("the sidecar's last sweep comes before `asleep`", "invalid end state"),
    8: ("the sidecar sleeps without a second sweep", "invalid end state"),
    9: ("a dead client's request is forgotten", "invalid end state"),
    10: ("a dead client's memory is lent at once", "assertion violated"),
    11: ("the reply is written behind its generation", "assertion violated"),
    12: ("the sidecar asks who waits before it answers", "invalid end state"),
    13: ("`busy` is cleared behind the answer", "assertion violated"),
    14: ("nobody is woken", "invalid end state"),
}


@pytest.fixture(scope="module")
def pans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two verifiers: `safety` for assertions and ends, `liveness` for the claim."""
    folder = tmp_path_factory.mktemp("spin")
    subprocess.run(["spin", "-a", MODEL], cwd=folder, check=True, capture_output=True)
    for name, options in (("safety", ["-DSAFETY", "-DNOCLAIM"]), ("liveness", [])):
        subprocess.run(["gcc", "-O1", *options, "-o", name, "pan.c"], cwd=folder, check=True)
    return folder


def verify(command: list, bug: int, folder: Path) -> str:
    environment = {**os.environ, "BUG": str(bug)}
    told = subprocess.run([*command, "-m100000"], cwd=folder, env=environment, check=True,
                          capture_output=True, text=True).stdout
    # A search that was cut short has proved nothing.
    assert "max search depth too small" not in told and "out of memory" not in told, told
    return told


def test_the_right_machine_does_nothing_wrong(pans: Path) -> None:
    assert "errors: 0" in verify([pans / "safety"], 0, pans)


def test_every_wait_of_the_right_machine_ends(pans: Path) -> None:
    told = verify([pans / "liveness", "-a"], 0, pans)
    assert "every_wait_ends" in told
    assert "errors: 0" in told


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug}-{BUGS[bug][0].replace(' ', '-')}")
def test_a_bug_is_found(pans: Path, bug: int) -> None:
    told = verify([pans / "safety"], bug, pans)
    assert "errors: 1" in told
    assert BUGS[bug][1] in told


@pytest.mark.parametrize("bug", [bug for bug in BUGS if BUGS[bug][1] == "invalid end state"])
def test_a_wait_that_does_not_end_breaks_the_claim(pans: Path, bug: int) -> None:
    assert "acceptance cycle" in verify([pans / "liveness", "-a"], bug, pans)
