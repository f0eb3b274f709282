"""The load generator (bench/serve), as the tests of overload start it."""

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path

OUTCOMES = ("ok", "busy", "deadline", "cancelled", "failed", "lost")


class Load:
    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process

    def go(self) -> None:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def callers(self) -> list:
        """The pids of its processes."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = stat.read_text().split(" (", 1)
            except OSError:  # it has ended
                continue
            if int(rest.rpartition(") ")[2].split()[1]) == self.process.pid:
                found.append(int(pid))
        return found

    def running(self) -> bool:
        return self.process.poll() is None

    def report(self) -> dict:
        status, _, rest = self.process.stdout.readline().partition(" ")
        assert status == "ok", rest
        assert self.process.wait(60) == 0
        return json.loads(rest)


@contextmanager
def load(build: Path, socket: Path, service: str, texts: Path, *options: str):
    """A load whose connections all work; it begins with go()."""
    process = subprocess.Popen(
        [build / "bin" / "serve_load", "nacelle", socket, service, f"--texts={texts}", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield Load(process)
    finally:
        process.kill()
        process.communicate()


def is_conserved(counts: dict) -> bool:
    return counts["submitted"] == sum(counts[outcome] for outcome in OUTCOMES)
