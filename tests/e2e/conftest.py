"""What the end-to-end tests share: a build, an installation, a model to damage, a nacelled."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests" / "data" / "nsmc-bert-ko"


@pytest.fixture(scope="session")
def build() -> Path:
    if "NACELLE_BUILD" not in os.environ:
        pytest.skip("NACELLE_BUILD names no build: these tests run nacelled")
    return Path(os.environ["NACELLE_BUILD"])


@pytest.fixture(scope="session")
def prefix(build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build, installed, and then moved: nothing in it may depend on where it was put first."""
    folder = tmp_path_factory.mktemp("install")
    subprocess.run(
        ["cmake", "--install", build, "--prefix", folder / "first"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return (folder / "first").rename(folder / "moved")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the small model that a test may damage."""
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


class Nacelled:
    """Starts nacelled with a config of its own, and never leaves one behind."""

    def __init__(self, build: Path, folder: Path) -> None:
        self.program = build / "bin" / "nacelled"
        self.ctl_program = build / "bin" / "nacellectl"
        self.folder = folder
        self.socket = folder / "nacelle.sock"
        self.control = folder / "control.sock"
        self.process: subprocess.Popen[str] | None = None

    def config(
        self, model: Path = MODEL, more: str = "", services: dict[str, str] | None = None
    ) -> Path:
        """services: in YAML, by name, besides the one called sentiment."""
        path = self.folder / "nacelle.yaml"
        others = "".join(f", {name}: {value}" for name, value in (services or {}).items())
        path.write_text(
            f"socket: {self.socket}\ncontrol: {{socket: {self.control}}}\n"
            f"services: {{sentiment: {model}{others}}}\n{more}"
        )
        return path

    def environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith("NACELLE_")}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """For a nacelled that is expected to leave by itself."""
        return subprocess.run(
            [self.program, *arguments],
            env=self.environment() | variables,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(
        self, model: Path = MODEL, more: str = "", services: dict[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [self.program, f"--config={self.config(model, more, services)}"],
            env=self.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:  # the log says when it serves; nothing here sleeps
            if " info serving " in line:
                return
        raise AssertionError("nacelled left before it served")

    def ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.ctl_program, f"--socket={self.control}", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        _, self.log = self.process.communicate(timeout=60)
        return self.process.returncode


@pytest.fixture
def nacelled(build: Path, tmp_path: Path):
    sidecar = Nacelled(build, tmp_path)
    yield sidecar
    if sidecar.process is not None and sidecar.process.poll() is None:
        sidecar.process.kill()
        sidecar.process.communicate()
