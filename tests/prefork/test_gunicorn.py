"""A client made and used in gunicorn's master works in each worker that it forks, then and later.

NACELLE_PREFORK_CALLS sets the number of Nacelle calls.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "tests" / "data" / "nsmc-bert-ko"
WORKERS = 8
CALLS = int(os.environ.get("NACELLE_PREFORK_CALLS", "100000"))
CALLS_PER_REQUEST = 50
SECONDS_MAX = 60  # a request that takes so long hangs


class OverUnixSocket(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS_MAX)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Gunicorn:
    """nacelled, and gunicorn with the application before it."""

    def __init__(self, build: Path, folder: Path) -> None:
        self.folder = folder
        self.ctl = [build / "bin" / "nacellectl", f"--socket={folder}/control.sock"]
        self.socket = folder / "http.sock"
        config = folder / "nacelle.yaml"
        config.write_text(
            f"socket: {folder}/nacelle.sock\ncontrol: {{socket: {folder}/control.sock}}\n"
            f"services: {{sentiment: {MODEL}}}\n"
        )
        ours = {k: v for k, v in os.environ.items() if not k.startswith("NACELLE_")}
        self.nacelled = subprocess.Popen(
            [build / "bin" / "nacelled", f"--config={config}"],
            env=ours,
            stderr=(folder / "nacelled.log").open("wb"),
        )
        command = [sys.executable, "-m", "gunicorn", "--preload", "-w", str(WORKERS)]
        command += ["--bind", f"unix:{self.socket}", "--chdir", str(HERE), "--no-control-socket"]
        self.master = subprocess.Popen(
            [*command, "gunicorn_app:app"],
            env=ours | {"NACELLE_SOCKET": f"{folder}/nacelle.sock", "WORKERS": str(WORKERS)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []  # of gunicorn's log
        self.listens = threading.Event()
        self.reader = threading.Thread(target=self.read_log)
        self.reader.start()

    def read_log(self) -> None:
        assert self.master.stderr is not None
        for line in self.master.stderr:
            self.lines.append(line)
            if "Listening at" in line:
                self.listens.set()
        self.listens.set()  # or never will

    def log(self) -> str:
        nacelled = (self.folder / "nacelled.log").read_text(errors="replace")
        return f"gunicorn:\n{''.join(self.lines)}\nnacelled:\n{nacelled}"

    def get(self, path: str) -> dict[str, int]:
        connection = OverUnixSocket(self.socket)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, f"{path}: {response.status}\n{self.log()[-5000:]}"
            return json.loads(body)
        finally:
            connection.close()

    def meet(self) -> set[int]:
        """The process ids of all workers, each of which is serving."""
        with ThreadPoolExecutor(WORKERS) as pool:
            return {answer["pid"] for answer in pool.map(self.get, ["/meet"] * WORKERS)}

    def status(self) -> dict:
        return json.loads(subprocess.check_output([*self.ctl, "--json", "status"], timeout=60))

    def end(self) -> None:
        for process in (self.master, self.nacelled):
            if process.poll() is None:
                process.kill()
            process.wait()
        self.reader.join()


@pytest.fixture
def gunicorn(tmp_path: Path):
    pytest.importorskip("gunicorn", reason="gunicorn is not installed; ./run test installs it")
    if "NACELLE_BUILD" not in os.environ:
        pytest.skip("NACELLE_BUILD names no build: this test runs nacelled")
    server = Gunicorn(Path(os.environ["NACELLE_BUILD"]).resolve(), tmp_path)
    yield server
    server.end()


def test_workers_forked_from_a_used_client_get_their_own_answers(gunicorn: Gunicorn):
    assert gunicorn.listens.wait(SECONDS_MAX), gunicorn.log()
    first = gunicorn.meet()
    assert len(first) == WORKERS and gunicorn.master.pid not in first

    requests = CALLS // CALLS_PER_REQUEST
    # Mid-way two workers are ended, and gunicorn forks others from the master's used client.
    by_kill, by_term = sorted(first)[:2]
    ends = {requests // 3: (by_kill, signal.SIGKILL), requests * 2 // 3: (by_term, signal.SIGTERM)}
    finished = itertools.count(1)
    lost: list[int] = []

    def ask(number: int) -> dict[str, int]:
        while True:
            try:
                answer = gunicorn.get(f"/work?{number},{CALLS_PER_REQUEST}")
                break
            except (ConnectionResetError, http.client.RemoteDisconnected):
                lost.append(number)  # it was in the worker that was killed
                assert len(lost) <= 1, gunicorn.log()[-5000:]
        end = ends.get(next(finished))
        if end is not None:
            os.kill(*end)
        return answer

    with ThreadPoolExecutor(2 * WORKERS) as pool:
        answers = list(pool.map(ask, range(requests)))

    assert [answer["number"] for answer in answers] == list(range(requests))
    assert sum(answer["calls"] for answer in answers) == requests * CALLS_PER_REQUEST
    assert sum(answer["wrong"] for answer in answers) == 0
    last = gunicorn.meet()
    assert last - first and first - last == {by_kill, by_term}
    served = {answer["pid"] for answer in answers}
    assert served <= first | last and len(served) >= WORKERS

    # The master's connection and one of each worker: none was inherited, none outlives its process
    # for longer than nacelled takes to see its end.
    expected = sorted(last | {gunicorn.master.pid})
    give_up = time.monotonic() + SECONDS_MAX
    while (status := gunicorn.status()) and time.monotonic() < give_up:
        if sorted(client["pid"] for client in status["clients"]) == expected:
            break
    assert sorted(client["pid"] for client in status["clients"]) == expected
    assert status["totals"]["rescued_by_timeout"] == 0

    gunicorn.master.terminate()
    assert gunicorn.master.wait(SECONDS_MAX) == 0, gunicorn.log()
    gunicorn.reader.join()
    assert "the master's client works" in gunicorn.log()
    for trouble in ("WORKER TIMEOUT", "Traceback"):
        assert trouble not in gunicorn.log(), gunicorn.log()
