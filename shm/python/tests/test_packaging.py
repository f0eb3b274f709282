"""Building the package: which library goes in, what the wheel is called, what happens without."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import BUILD, DOUBLE, HERE
from sidecar import Sidecar

SETUPTOOLS_MIN = 64  # as pyproject.toml says


def can_build() -> bool:
    if any(importlib.util.find_spec(name) is None for name in ("setuptools", "wheel", "pip")):
        return False
    return int(importlib.metadata.version("setuptools").split(".")[0]) >= SETUPTOOLS_MIN


pytestmark = pytest.mark.skipif(
    not can_build(),
    reason=f"building needs pip, wheel and setuptools {SETUPTOOLS_MIN} in this environment",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the Python project without the source tree around it."""
    copy = tmp_path / "project"
    shutil.copytree(
        HERE.parent, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "*.so", "tests")
    )
    return copy


def build(project: Path, library: str | None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "NACELLE_LIBRARY"}
    if library is not None:
        environment["NACELLE_LIBRARY"] = library
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    command += ["--no-index", "--wheel-dir", str(project.parent / "wheels"), str(project)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_wheel_carries_the_chosen_library_and_fits_this_platform(project: Path) -> None:
    result = build(project, str(DOUBLE))
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (project.parent / "wheels").iterdir()
    assert wheel.name.startswith("nacelle-0.1.0-py3-none-linux_")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("nacelle/libnacelle.so") == DOUBLE.read_bytes()
    assert {"nacelle/__init__.py", "nacelle/client.py", "nacelle/py.typed"} <= names
    assert not [name for name in names if "test" in name]


def test_an_installed_wheel_imports_without_any_setting(project: Path, tmp_path: Path) -> None:
    assert build(project, str(DOUBLE)).returncode == 0
    (wheel,) = (project.parent / "wheels").iterdir()
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target"]
    subprocess.run([*install, str(target), str(wheel)], check=True, capture_output=True)
    environment = {k: v for k, v in os.environ.items() if k != "NACELLE_LIBRARY"}
    code = "import nacelle; print(nacelle._native.library.path)"
    imported = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert imported.stdout.strip() == str(target / "nacelle" / "libnacelle.so")


@pytest.mark.skipif(BUILD is None, reason="NACELLE_BUILD names no build directory")
def test_a_wheel_serves_in_a_fresh_environment_where_there_is_no_compiler(
    project: Path, tmp_path: Path
) -> None:
    assert BUILD is not None
    built = build(project, str(BUILD / "lib" / "libnacelle.so"))
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (project.parent / "wheels").iterdir()

    fresh = tmp_path / "fresh"
    venv.create(fresh, symlinks=True)
    python = fresh / "bin" / "python"
    # Nothing but the environment's own programs: no compiler, no CMake, no Ninja.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NACELLE_")}
    environment["PATH"] = str(fresh / "bin")
    assert shutil.which("cc", path=environment["PATH"]) is None
    install = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    subprocess.run(
        [*install, "--no-index", "--no-deps", str(wheel)],
        env=environment,
        check=True,
        capture_output=True,
    )
    # numpy is the only dependency; that of this environment will do, and needs no network.
    (site,) = fresh.glob("lib/python*/site-packages")
    (site / "numpy.pth").write_text(f"{Path(np.__file__).parents[1]}\n")

    sidecar = Sidecar(tmp_path)
    sidecar.start()
    try:
        code = (
            "import nacelle\n"
            "with nacelle.connect(connect_timeout=60) as engine:\n"
            "    print(nacelle.__file__, nacelle._native.library.path)\n"
            "    print(engine.classify('sentiment', '정말 재미있는 영화였어요').label)\n"
        )
        done = subprocess.run(
            [str(python), "-c", code],
            env={**environment, "NACELLE_SOCKET": str(sidecar.socket)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        sidecar.kill()
    assert done.returncode == 0, done.stderr + sidecar.log()
    package = site / "nacelle"
    assert done.stdout.split() == [
        str(package / "__init__.py"),
        str(package / "libnacelle.so"),
        "POSITIVE",
    ]


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (None, "no Nacelle source tree around this package"),
        ("/nowhere/libnacelle.so", "NACELLE_LIBRARY=/nowhere/libnacelle.so is not a file"),
        ("libnacelle.so", "NACELLE_LIBRARY=libnacelle.so is relative"),
    ],
    ids=["no tree", "no file", "relative"],
)
def test_without_a_library_the_build_says_what_to_do(
    project: Path, library: str | None, reason: str
) -> None:
    result = build(project, library)
    assert result.returncode != 0
    assert reason in result.stdout + result.stderr
