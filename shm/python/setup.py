"""Puts libnacelle.so into the package: the part of the build that pyproject.toml cannot say.

The library is, in this order,
  1. the file that $NACELLE_LIBRARY names, or
  2. built by CMake from the source tree around this folder: its target `nacelle` and nothing else.

The wheel fits every Python 3 of one platform: there is no extension module, only a library that
ctypes loads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
SOURCE_TREE = HERE.parents[1]
LIBRARY_NAME = "libnacelle.so"


class BuildWithLibrary(build_py):
    """build_py, and the library beside the modules."""

    def run(self) -> None:
        if not self.editable_mode:
            # An earlier build may have left a module that is no more.
            shutil.rmtree(Path(self.build_lib) / "nacelle", ignore_errors=True)
        super().run()
        folder = HERE if self.editable_mode else Path(self.build_lib)
        target = folder / "nacelle" / LIBRARY_NAME
        library = self._find_library()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
        print(f"nacelle: packaged {library}")

    def _find_library(self) -> Path:
        chosen = os.environ.get("NACELLE_LIBRARY")
        if chosen:
            path = Path(chosen)
            if not path.is_absolute():
                raise SetupError(f"NACELLE_LIBRARY={chosen} is relative; give the whole path")
            if not path.is_file():
                raise SetupError(f"NACELLE_LIBRARY={chosen} is not a file; build it, or unset it")
            return path
        if not (SOURCE_TREE / "shm" / "nacelle.h").is_file():
            raise SetupError(
                "there is no Nacelle source tree around this package to build libnacelle.so from; "
                "run pip in the tree, or set NACELLE_LIBRARY to the path of a libnacelle.so"
            )
        return self._build_library()

    def _build_library(self) -> Path:
        for tool in ("cmake", "ninja"):
            if shutil.which(tool) is None:
                raise SetupError(
                    f"building libnacelle.so needs {tool}, which is not installed (`./run build` "
                    "installs it); or set NACELLE_LIBRARY to the path of a libnacelle.so"
                )
        folder = (HERE / self.get_finalized_command("build").build_temp / "libnacelle").resolve()
        configure = ["cmake", "--preset", "release", "-S", str(SOURCE_TREE), "-B", str(folder)]
        for command in (
            [*configure, "-DNACELLE_CLIENT_ONLY=ON"],
            ["cmake", "--build", str(folder), "--target", "nacelle"],
        ):
            print("nacelle:", *command, flush=True)
            # The preset is in the source tree, and cmake looks for presets where it runs.
            status = subprocess.run(command, cwd=SOURCE_TREE, stdout=sys.stdout, check=False)
            if status.returncode != 0:
                raise SetupError(
                    f"`{' '.join(command)}` failed, its output is above; `./run build` installs "
                    "what it needs; or set NACELLE_LIBRARY to the path of a libnacelle.so"
                )
        return folder / "lib" / LIBRARY_NAME


class PlatformWheel(bdist_wheel):
    """py3-none-<platform>: any Python 3, this kind of machine."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class PlatformDistribution(Distribution):
    """Installs into the platform's folder, as packages with machine code do."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    distclass=PlatformDistribution,
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
)
