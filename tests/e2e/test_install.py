"""An installed Nacelle: which files there are, and that they work from wherever they lie."""

import ctypes
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

VERSION = re.search(r"project\(nacelle VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
INSTALLED = {
    "bin/nacelled",
    "bin/nacellectl",
    "include/nacelle.h",
    "include/nacelle/shm/client.h",
    "include/nacelle/shm/layout.h",
    "include/nacelle/shm/pending.h",
    "include/nacelle/shm/stream.h",
    "include/nacelle/sidecar/base/bytes.h",
    "include/nacelle/sidecar/base/result.h",
    "lib/libnacelle.so",
    "lib/libnacelle.so.0",
    f"lib/libnacelle.so.{VERSION}",
    "lib/libnacelle_base.a",
    "lib/libnacelle_shm.a",
    "lib/cmake/nacelle/nacelle-config.cmake",
    "lib/cmake/nacelle/nacelle-config-version.cmake",
    "lib/cmake/nacelle/nacelle-targets.cmake",
    "lib/pkgconfig/nacelle.pc",
    "lib/pkgconfig/nacelle-client.pc",
    "share/doc/nacelle/LICENSE",
}
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"]
LANGUAGES = ["c99", "c11", "c17", "c++11", "c++20"]


def run(*command, **options) -> str:
    """The standard output of a command that must succeed."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, **options
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_exactly_what_is_promised_is_installed(prefix: Path):
    found = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if not path.is_dir()}
    # The build type is in the name of one file, and is the builder's choice.
    targets = {name for name in found if re.search(r"nacelle-targets-\w+\.cmake$", name)}
    assert len(targets) == 1
    assert found - targets == INSTALLED


def test_nothing_installed_names_a_place_on_this_machine(prefix: Path):
    places = [str(prefix.parent), str(ROOT)]
    for path in prefix.rglob("*"):
        if path.suffix in (".cmake", ".pc", ".h"):
            assert not [place for place in places if place in path.read_text()], path
    for name in ("bin/nacelled", "bin/nacellectl", "lib/libnacelle.so"):
        assert not re.search(r"\b(RPATH|RUNPATH)\b", run("readelf", "-d", prefix / name)), name


def compile_header(language: str, include: Path) -> subprocess.CompletedProcess:
    compiler, kind = ("c++", "c++") if "++" in language else ("cc", "c")
    return subprocess.run(
        [compiler, f"-std={language}", *STRICT, "-x", kind, f"-I{include}", "-"],
        input='#include <nacelle.h>\n#include "nacelle.h"\n',
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_header_is_strict(prefix: Path, tmp_path: Path, language: str):
    done = compile_header(language, prefix / "include")
    assert done.returncode == 0, done.stderr
    # And this would have found an extension of the compiler's.
    header = (prefix / "include/nacelle.h").read_text()
    opening = "typedef struct nacelle_item {"
    (tmp_path / "nacelle.h").write_text(header.replace(opening, opening + "char none[0];"))
    assert compile_header(language, tmp_path).returncode != 0


def test_the_headers_for_c_plus_plus_define_no_macros(prefix: Path):
    """A program has names of its own; many have a CHECK."""
    headers = sorted((prefix / "include/nacelle").rglob("*.h"))
    assert len(headers) == len([name for name in INSTALLED if name.startswith("include/nacelle/")])
    defining = re.compile(r"^\s*#\s*define\b", re.MULTILINE)
    assert defining.search((prefix / "include/nacelle.h").read_text())  # C has no constants
    assert not [path for path in headers if defining.search(path.read_text())]


def test_all_versions_agree(prefix: Path):
    library = ctypes.CDLL(str(prefix / "lib/libnacelle.so"))
    library.nacelle_version.restype = ctypes.c_char_p
    assert library.nacelle_version().decode() == VERSION
    environment = os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
    for package in ("nacelle", "nacelle-client"):
        assert run("pkg-config", "--modversion", package, env=environment).strip() == VERSION
    assert "libnacelle.so.0" in run("readelf", "-d", prefix / "lib/libnacelle.so")


@pytest.mark.parametrize(("wanted", "fits"), [("", True), (VERSION, True), ("99", False)])
def test_cmake_takes_only_a_version_that_fits(prefix, tmp_path, wanted: str, fits: bool):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(consumer LANGUAGES C)\n"
        f"find_package(nacelle {wanted} REQUIRED)\n"
    )
    done = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == fits, done.stdout + done.stderr
    assert fits or VERSION in done.stderr  # it was found, and is another version
