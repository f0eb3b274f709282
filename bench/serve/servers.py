"""Who serves in bench/serve.py, and the load generator that asks them."""

import array
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from peers import environment, is_newer
from peers import run as run_program
from processes import BUILD, Answering, Failed, Process, cpu_ns, end, start_sidecar

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build/peers/serve"
PACKAGES = ["onnxruntime==1.23.2", "onnx", "numpy", "safetensors", "tokenizers", "fastapi",
            "uvicorn", "uvloop", "httptools", "orjson"]
CLIENTS_MAX = 64  # processes that ask
# An HTTP connection carries one request at a time, so each process has several, and one process has
# as many as Nacelle's has slots.
HTTP_CONNECTIONS_MIN, HTTP_CONNECTIONS_MAX = 8, 64
BURST = 8
START_S = 60      # until a peer must serve
CALL_TEXTS = 64   # of a call that asks for many


class Load(NamedTuple):
    """One run of serve_load; bench/serve/options.cc says what the words mean."""

    phases: tuple  # of (requests per second, seconds)
    clients: int = CLIENTS_MAX
    pattern: str = "poisson"
    in_flight: int = 1
    connections: int = 1  # of each client, to Nacelle
    seed: int = 1
    name: str = "serve_load"
    part: str = "0/1"  # of the texts: loads at the same time have texts of their own


def closed(clients, seconds, in_flight=1):
    """Each client asks again as soon as it is answered."""
    return Load(((1, seconds),), clients, "closed", in_flight)


def expected_of(texts):
    """The file of our vectors of the texts in a file."""
    return texts.with_suffix(".vectors")


class Server:
    """What is asked. `pids`: its processes."""

    name = ""

    def words(self, texts, clients, connections):
        """serve_load's: where and how these texts are asked for, by that many clients."""
        raise NotImplementedError

    def cpu_ns(self):
        return sum(cpu_ns(pid) for pid in self.pids)

    def stop(self):
        """Until go_on(): while another server is measured."""
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


class Control:
    """A sidecar's control socket (docs/formats/control.md): a program started at every look would
    take a part of the CPUs that are measured."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rw", encoding="utf-8", newline="\n")

    def ask(self, verb, **arguments):
        self.lines.write(json.dumps({"verb": verb, "arguments": arguments}) + "\n")
        self.lines.flush()
        answer = json.loads(self.lines.readline())
        if "result" not in answer:
            raise Failed(f"{verb}: {answer['error']['message']}")
        return answer["result"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()


class Nacelle(Server):
    name = "Nacelle"

    def __init__(self, stack, folder, services, options=()):
        # 64 clients, and a few that only look.
        sidecar, self.socket = start_sidecar(
            stack, folder, services, ["--transport.connections_max=300", *options])
        self.pids = [sidecar.pid]
        self.sidecar = sidecar
        self.service = next(iter(services))
        self.control = folder / "control.sock"

    def words(self, texts, clients, connections, service=None):
        return ["nacelle", self.socket, service or self.service, f"--connections={connections}",
                f"--expected={expected_of(texts)}"]

    def vectors(self, stack, texts):
        """Of all texts; serve_load compares every answer with them, too."""
        client = Answering(stack, "skeleton_client",
                           [BUILD / "bin/skeleton_client", self.socket, "verify"])
        count = int(client.ask("texts", texts))
        client.ask("vectors", self.service, 1 if count % CALL_TEXTS else CALL_TEXTS,
                   expected_of(texts))
        return array.array("f", expected_of(texts).read_bytes())

    def status(self):
        with Control(self.control) as control:
            return control.ask("status")

    def option(self, name):
        """The value of one that is a whole number."""
        with Control(self.control) as control:
            return int(control.ask("config", option=name)["options"][0]["value"])


class Variant(NamedTuple):
    """How a peer is set up."""

    workers: int
    batching: bool
    spin: bool

    def __str__(self):
        return (f"{self.workers} worker{'s' * (self.workers > 1)}, "
                f"{'batches' if self.batching else 'no batches'}{', spinning' * self.spin}")


class Http(Server):
    """Python processes of peers/embed_server.py: uvicorn + FastAPI + ONNX Runtime."""

    def __init__(self, stack, folder, python, graph, model, variant, threads):
        self.name = f"uvicorn + FastAPI + ONNX Runtime, {variant}"
        # One set-up of so many workers runs at a time.
        self.sockets = [folder / f"http-{i}-of-{variant.workers}.sock"
                        for i in range(variant.workers)]
        self.pids = []
        each = max(1, threads // variant.workers)
        for path in self.sockets:
            path.unlink(missing_ok=True)
            process = subprocess.Popen(
                [python, ROOT / "bench/peers/embed_server.py", path, graph, model, str(each),
                 *["--no-batching"] * (not variant.batching), *["--spin"] * variant.spin])
            stack.callback(end, process, 10)
            self.pids.append(process.pid)
        deadline = time.monotonic() + START_S
        for path in self.sockets:
            while not self.answers(path):
                if time.monotonic() > deadline:
                    raise Failed(f"{self.name} does not answer")
                time.sleep(0.1)

    def words(self, texts, clients, connections):
        return ["http", ",".join(map(str, self.sockets)),
                f"--connections={max(HTTP_CONNECTIONS_MIN, HTTP_CONNECTIONS_MAX // clients)}"]

    @staticmethod
    def ask(path, text):
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        try:
            connection.request("POST", "/embed", json.dumps({"text": text}))
            reply = connection.getresponse()
            if reply.status != 200:
                raise Failed(f"the peer answers with status {reply.status}")
            return json.loads(reply.read())["embedding"]
        finally:
            connection.close()

    def answers(self, path):
        try:
            return bool(self.ask(path, "hello"))
        except OSError:
            return False

    def vectors(self, texts, count):
        """Of the first so many texts, and their width."""
        lines = texts.read_text(encoding="utf-8").splitlines()[:count]
        rows = [self.ask(self.sockets[i % len(self.sockets)], line) for i, line in enumerate(lines)]
        return array.array("f", [value for row in rows for value in row]), len(rows[0])


def prepare_peer(model, python):
    """Makes the peer's environment and graph, once: its Python and the graph's file."""
    own = environment(PEERS, PACKAGES, python)
    graph = PEERS / "minilm.onnx"
    maker = ROOT / "bench/peers/bert_onnx.py"
    if not is_newer(graph, maker, model / "model.safetensors"):
        run_program(own, maker, model, graph)
    return own, graph


def versions_of(python):
    """{package: version} of what the peer runs with."""
    said = subprocess.run([python, "-m", "pip", "list", "--format=json",
                           "--disable-pip-version-check"], stdout=subprocess.PIPE, check=True)
    return {one["name"]: one["version"] for one in json.loads(said.stdout)}


class Generator(Process):
    """serve_load, connected; go() begins."""

    def __init__(self, stack, server, texts, load, **more):
        phases = ",".join(f"{rate:.3f}:{round(seconds * 1000)}" for rate, seconds in load.phases)
        super().__init__(stack, "serve_load", [
            BUILD / "bin/serve_load", *server.words(texts, load.clients, load.connections, **more),
            f"--texts={texts}", f"--phases={phases}", f"--pattern={load.pattern}",
            f"--processes={load.clients}", f"--in-flight={load.in_flight}", f"--seed={load.seed}",
            f"--burst={BURST}", f"--name={load.name}", f"--part={load.part}", "--grace-ms=30000"])
        if (line := self.receive()) != "ready":
            raise Failed(f"serve_load: {line.removeprefix('error ')}")

    def go(self, start_ns):
        self.send(f"go {start_ns}")

    def report(self):
        status, _, rest = self.receive().partition(" ")
        if status != "ok":
            raise Failed(f"serve_load: {rest}")
        report = json.loads(rest)
        check_books(report)
        return report


def check_books(report):
    """A number is worth nothing when a request behind it is missing or was answered wrongly."""
    for counts in (report, *report["phases"]):
        ended = sum(counts[key] for key in ("ok", "busy", "deadline", "cancelled"))
        if counts["submitted"] != ended + counts["failed"] + counts["lost"]:
            raise Failed("serve_load: the books do not balance")
    if report["failed"] or report["lost"] or report["generator"]["died"]:
        raise Failed(f"{report['failed']} requests failed, {report['lost']} were lost: "
                     f"{report['complaint']}")
