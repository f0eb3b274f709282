"""The programs of docs/examples, built and run as a reader would, with an installed Nacelle."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Nacelled
from test_install import run

EXAMPLES = ROOT / "docs" / "examples"
TEXTS = ["정말 재미있는 영화였어요", "시간 낭비, 최악의 영화"]
LABELS = ["POSITIVE", "NEGATIVE"]
# How README.md shows a file: in a block of its language.
SHOWN = {"classify.c": "c", "classify.cc": "cpp", "classify.py": "python", "search.py": "python"}
LINES_MAX = {"classify.c": 24, "classify.cc": 16, "classify.py": 10, "search.py": 22}


@pytest.fixture
def sidecar(prefix: Path, tmp_path: Path):
    """The installed nacelled."""
    nacelled = Nacelled(prefix, tmp_path)
    nacelled.start()
    yield nacelled
    assert nacelled.stop() == 0, nacelled.log


def environment(prefix: Path, sidecar: Nacelled | None = None) -> dict[str, str]:
    """What a user has to set when the prefix is none of the system's."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("NACELLE_")}
    ours["PKG_CONFIG_PATH"] = str(prefix / "lib/pkgconfig")
    ours["LD_LIBRARY_PATH"] = str(prefix / "lib")
    if sidecar is not None:
        ours["NACELLE_SOCKET"] = str(sidecar.socket)
    return ours


def check_labels(lines: list[str]) -> None:
    words = [line.split() for line in lines]
    assert [label for label, _ in words] == LABELS
    assert all(0.5 <= float(score) <= 1 for _, score in words)


@pytest.mark.parametrize(
    "command",
    [
        "cc -Wall -Wextra -Wpedantic -Werror classify.c $(pkg-config --cflags --libs nacelle)",
        "cc -std=c99 -Wall -Wpedantic -Werror classify.c $(pkg-config --cflags --libs nacelle)",
        "c++ -std=c++20 -Wall -Wextra -Werror classify.cc "
        "$(pkg-config --cflags --libs nacelle-client)",
    ],
    ids=["c", "c99", "c++"],
)
def test_with_pkg_config(prefix: Path, sidecar: Nacelled, tmp_path: Path, command: str):
    settings = environment(prefix, sidecar)
    run("sh", "-c", f"{command} -o {tmp_path}/classify", cwd=EXAMPLES, env=settings)
    check_labels(run(tmp_path / "classify", *TEXTS, env=settings).splitlines())


def test_with_cmake(prefix: Path, sidecar: Nacelled, tmp_path: Path):
    settings = environment(prefix, sidecar)
    del settings["LD_LIBRARY_PATH"]  # CMake's programs know where their libraries are
    run("cmake", "-S", EXAMPLES, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build")
    for name in ("classify_c", "classify_cc"):
        check_labels(run(tmp_path / "build" / name, *TEXTS, env=settings).splitlines())


def test_in_python(prefix: Path, sidecar: Nacelled):
    settings = environment(prefix, sidecar)
    del settings["LD_LIBRARY_PATH"]  # the package has its own library
    *labels, cosine = run(
        sys.executable, EXAMPLES / "classify.py", *TEXTS, env=settings
    ).splitlines()
    check_labels(labels)
    word, value = cosine.split()
    assert word == "cosine" and -1 <= float(value) <= 1


def test_a_search_finds_and_ranks(prefix: Path, tmp_path: Path):
    data = ROOT / "tests" / "data"
    nacelled = Nacelled(prefix, tmp_path)
    nacelled.start(
        services={
            "minilm": f"{{model: {data}/tiny-bert, prompts: {{query: 'a '}}}}",
            "ranker": f"{data}/tiny-reranker",
        }
    )
    settings = environment(prefix, nacelled)
    del settings["LD_LIBRARY_PATH"]
    lines = run(sys.executable, EXAMPLES / "search.py", "the cat", env=settings).splitlines()
    assert nacelled.stop() == 0, nacelled.log
    scores = [float(line.split()[0]) for line in lines]
    assert len(scores) == 2 and scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_what_fails_is_told_and_is_the_exit_status(prefix: Path, tmp_path: Path):
    # No socket can have such a name, so this fails at once, not after a while of waiting.
    settings = environment(prefix) | {"NACELLE_SOCKET": str(tmp_path / ("none" * 30))}
    command = "cc classify.c $(pkg-config --cflags --libs nacelle)"
    run("sh", "-c", f"{command} -o {tmp_path}/classify", cwd=EXAMPLES, env=settings)
    command = [tmp_path / "classify", "x"]
    done = subprocess.run(command, env=settings, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nonenone" in done.stderr


@pytest.mark.parametrize("name", SHOWN)
def test_the_readme_shows_the_file_itself(name: str):
    text = (EXAMPLES / name).read_text()
    assert f"```{SHOWN[name]}\n{text}```\n" in (ROOT / "README.md").read_text()
    assert text.count("\n") <= LINES_MAX[name]


def test_every_example_is_shown():
    # A configuration is too long to show, and loaded by a test of its own.
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix != ".yaml"}
    assert programs == {*SHOWN, "CMakeLists.txt"}
