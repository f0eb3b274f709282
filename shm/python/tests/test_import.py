"""Importing the package finds its library, or says what is wrong with it and what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DOUBLE, compile_double

import nacelle

PACKAGE = Path(nacelle.__file__).parent


def run_import(package: Path, library: str | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "NACELLE_LIBRARY"}
    if library is not None:
        environment["NACELLE_LIBRARY"] = library
    code = "import nacelle; print(nacelle._native.library.path)"
    # `python -c` looks for modules where it runs first.
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=package.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def unbuilt(tmp_path: Path) -> Path:
    """The package as it is in the source tree: without a library."""
    copy = tmp_path / "nacelle"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    return copy


def test_the_library_inside_the_package_is_loaded(unbuilt: Path) -> None:
    packaged = unbuilt / "libnacelle.so"
    shutil.copy(DOUBLE, packaged)
    assert run_import(unbuilt, None).stdout.strip() == str(packaged)


def test_the_environment_chooses_another_library(unbuilt: Path) -> None:
    shutil.copy(DOUBLE, unbuilt / "libnacelle.so")
    assert run_import(unbuilt, str(DOUBLE)).stdout.strip() == str(DOUBLE)


def test_a_package_that_was_not_built_says_how_to(unbuilt: Path) -> None:
    result = run_import(unbuilt, None)
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert "pip install ./shm/python" in result.stderr


def test_a_library_that_is_not_there_is_named_with_who_chose_it(unbuilt: Path) -> None:
    result = run_import(unbuilt, "/nowhere/libnacelle.so")
    assert (
        "ImportError: cannot load /nowhere/libnacelle.so (from $NACELLE_LIBRARY)" in result.stderr
    )


def test_another_kind_of_library_is_refused(unbuilt: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.so"
    command = ["cc", "-shared", "-x", "c", "-o", str(other), "-"]
    subprocess.run(command, input="int unrelated;", text=True, check=True)
    assert "has no function nacelle_connect" in run_import(unbuilt, str(other)).stderr


def test_a_library_of_another_version_is_refused(unbuilt: Path, tmp_path: Path) -> None:
    newer = compile_double(tmp_path, '-DDOUBLE_VERSION="9.9.9"')
    result = run_import(unbuilt, str(newer))
    assert f"is libnacelle 9.9.9, but this is the Python package {nacelle.__version__}" in (
        result.stderr
    )
