"""As test_gunicorn.py, with celery's prefork pool: a script for campaigns, not one of the tests.

    pip install celery
    NACELLE_BUILD=build/dev python tests/prefork/celery_prefork.py [--calls 100000]

Starts nacelled and a celery worker (its broker is a folder) whose master makes and uses the client,
sends it tasks, and compares. Pool processes end after some tasks, as celery lets them, and others
are forked in their place. (None is killed: with this broker a pool that loses a process stands
still, with or without Nacelle.) Ends with a line of JSON; the exit status is 0 when no answer was
wrong, no task hung, and more processes served than the pool has at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from celery import Celery

HERE = Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "tests" / "data" / "nsmc-bert-ko"
WORKERS = 8
CALLS_PER_TASK = 50
SECONDS_MAX = 60  # a task that is not answered for so long hangs

# The folder of the broker and of the results: the script makes it, the worker inherits its name.
folder = Path(os.environ.get("CELERY_PREFORK_FOLDER") or tempfile.mkdtemp(prefix="nacelle-celery-"))
app = Celery("celery_prefork", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.01,
    },
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)

if __name__ != "__main__":  # in the worker's master, before it forks
    import preforked


@app.task(name="work")
def work(number: int) -> dict[str, int]:
    return preforked.work(number, CALLS_PER_TASK)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    tasks = parser.parse_args().calls // CALLS_PER_TASK
    build = Path(os.environ["NACELLE_BUILD"]).resolve()
    for name in ("queue", "control", "results"):
        (folder / name).mkdir()
    config = folder / "nacelle.yaml"
    config.write_text(
        f"socket: {folder}/nacelle.sock\ncontrol: {{socket: {folder}/control.sock}}\n"
        f"services: {{sentiment: {MODEL}}}\n"
    )
    ours = {k: v for k, v in os.environ.items() if not k.startswith("NACELLE_")}
    log = (folder / "log").open("wb")
    nacelled = subprocess.Popen(
        [build / "bin" / "nacelled", f"--config={config}"], env=ours, stderr=log
    )
    ours |= {"NACELLE_SOCKET": f"{folder}/nacelle.sock", "CELERY_PREFORK_FOLDER": str(folder)}
    command = [sys.executable, "-m", "celery", "-A", "celery_prefork", "worker", "--pool=prefork"]
    command += [f"--concurrency={WORKERS}", "--without-gossip", "--without-mingle", "-O", "fair"]
    command += [f"--max-tasks-per-child={max(1, tasks // (2 * WORKERS))}"]
    worker = subprocess.Popen(command, cwd=HERE, env=ours, stdout=log, stderr=log)
    said = {"tasks": tasks, "done": 0, "wrong": 0, "foreign": 0, "processes": 0}
    pids: set[int] = set()
    try:
        for number, result in enumerate([work.delay(number) for number in range(tasks)]):
            answer = result.get(timeout=SECONDS_MAX, interval=0.001)
            pids.add(answer["pid"])
            said["done"] += answer["calls"] == CALLS_PER_TASK
            said["wrong"] += answer["wrong"]
            said["foreign"] += answer["number"] != number
        said["processes"] = len(pids)
        status = subprocess.check_output(
            [build / "bin" / "nacellectl", f"--socket={folder}/control.sock", "--json", "status"]
        )
        said["rescued_by_timeout"] = json.loads(status)["totals"]["rescued_by_timeout"]
        worker.terminate()
        said["worker_exit"] = worker.wait(SECONDS_MAX)
    finally:
        for process in (worker, nacelled):
            if process.poll() is None:
                process.kill()
            process.wait()
    good = (
        said["done"] == tasks
        and said["wrong"] == said["foreign"] == said["rescued_by_timeout"] == 0
        and said["processes"] > WORKERS
        and said["worker_exit"] == 0
    )
    print(json.dumps(said | {"passed": good} | ({} if good else {"log": str(folder / "log")})))
    if good:
        shutil.rmtree(folder)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
