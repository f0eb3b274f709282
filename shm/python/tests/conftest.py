"""What the tests of the Python package share.

With $NACELLE_BUILD (a build directory with bin/nacelled and lib/libnacelle.so) everything runs.
Without it the tests that need a real sidecar are skipped, and the package is imported over the
double of double.c.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE_TREE: Path = HERE.parents[2]
BUILD: Path | None = (
    Path(os.environ["NACELLE_BUILD"]).resolve() if os.environ.get("NACELLE_BUILD") else None
)


def compile_double(folder: Path, *flags: str) -> Path:
    """Compiles double.c into folder/libdouble.so."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the double of libnacelle", allow_module_level=True)
    target = folder / "libdouble.so"
    command = [
        compiler,
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
        "-pthread",
    ]
    command += [f"-I{SOURCE_TREE / 'shm'}", *flags, str(HERE / "double.c"), "-o", str(target)]
    subprocess.run(command, check=True)
    return target


# The package loads its library when it is imported, so this comes before that.
_folder = tempfile.TemporaryDirectory(prefix="nacelle-tests-")
DOUBLE = compile_double(Path(_folder.name))
os.environ["NACELLE_LIBRARY"] = str(DOUBLE if BUILD is None else BUILD / "lib" / "libnacelle.so")

from sidecar import Sidecar  # noqa: E402

import nacelle  # noqa: E402
from nacelle import _native  # noqa: E402


@pytest.fixture(scope="session")
def double() -> _native.Library:
    return _native.Library(DOUBLE, chosen_by="for the tests")


@pytest.fixture(scope="session")
def knobs() -> ctypes.CDLL:
    """The double's own functions: double_release() and the like."""
    library = ctypes.CDLL(str(DOUBLE))
    library.double_socket.restype = ctypes.c_char_p
    library.double_name.restype = ctypes.c_char_p
    library.double_connect_timeout_ms.restype = ctypes.c_uint32
    library.double_call.restype = ctypes.c_char_p
    library.double_timeout_ms.restype = ctypes.c_uint32
    library.double_interval_us.restype = ctypes.c_uint32
    return library


@pytest.fixture
def client(double: _native.Library) -> Iterator[nacelle.Client]:
    """A client of the double."""
    with nacelle.Client(library=double) as client:
        yield client


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """One for all tests that leave it as it was."""
    sidecar = Sidecar(tmp_path_factory.mktemp("sidecar"))
    sidecar.start()
    yield sidecar
    sidecar.kill()


@pytest.fixture
def own_sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    """One for a test that stops or kills it."""
    sidecar = Sidecar(tmp_path)
    sidecar.start()
    yield sidecar
    sidecar.kill()


@pytest.fixture
def engine(sidecar: Sidecar) -> Iterator[nacelle.Client]:
    with sidecar.connect() as client:
        yield client
