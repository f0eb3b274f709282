"""A real nacelled for the tests: started with a config of its own, stopped or killed on demand."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import BUILD, SOURCE_TREE

import nacelle

DATA = SOURCE_TREE / "tests" / "data"
# A bound for what takes well under a second: only a broken sidecar meets it.
SECONDS_MAX = 60


def read_reviews(count: int) -> list[str]:
    with (DATA / "nsmc_test_sample.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [row["document"] for row, _ in zip(rows, range(count))]


REVIEWS = read_reviews(200)


class Sidecar:
    """nacelled in a folder of its own. start() may be called again after stop() or kill()."""

    def __init__(self, folder: Path, **config: Any) -> None:
        assert BUILD is not None
        self.program = BUILD / "bin" / "nacelled"
        self.folder = folder
        self.socket = folder / "nacelle.sock"
        self.config = {
            "socket": str(self.socket),
            "control": {"socket": str(folder / "control.sock")},
            "services": {"sentiment": str(DATA / "nsmc-bert-ko")},
            **config,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self.process is None
        config = self.folder / "nacelled.yaml"
        config.write_text(json.dumps(self.config))  # JSON is YAML
        # Settings for this test run are not settings for the sidecar.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NACELLE_")}
        with (self.folder / "nacelled.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.program), f"--config={config}"], env=environment, stderr=log, stdout=log
            )

    def connect(self, connect_timeout: float = SECONDS_MAX) -> nacelle.Client:
        """Waits until the sidecar is ready, by connecting."""
        try:
            return nacelle.connect(self.socket, connect_timeout=connect_timeout)
        except nacelle.Error as error:
            raise AssertionError(f"{error}\nnacelled said:\n{self.log()}") from error

    def log(self) -> str:
        return (self.folder / "nacelled.log").read_text(errors="replace")

    def stop(self) -> int:
        """SIGTERM, as a pod does. Returns the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        return self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(how)
        try:
            return process.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"nacelled did not end by {how.name}:\n{self.log()}") from None


def in_forked_child(function: Callable[[], bytes]) -> bytes:
    """What function() returns in a child of this process; b"" when it does not return."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write_end, function())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        received = pipe.read()
    os.waitpid(child, 0)
    return received
