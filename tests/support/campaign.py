"""Runs a campaign: the tests that inject faults, with counts that take minutes or hours, and keeps
what came out in bench/results, a line of JSON per row of the acceptance table.

    campaign.py BUILD NAME [--quick] [--seed=N] [--only=STEP]

A step is a program of the build. It gets CAMPAIGN_SEED and the settings of its line in CAMPAIGNS,
and may print lines

    RESULT {"row": "A2", "trials": 10000, "failures": 0, "notes": "..."}

A step that prints none counts as one trial, which failed when its exit status is not 0. To add one,
add a line to the list. With the same seed a step makes the same random choices.
"""

import argparse
import datetime
import json
import os
import platform
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Step(NamedTuple):
    name: str
    row: str  # of the acceptance table
    command: str  # a program in the build's bin/ and its arguments
    full: str  # settings: NAME=VALUE NAME=VALUE
    quick: str
    asserts: str


CAMPAIGNS = {
    "transport": (
        Step("step-kills", "A1", "crash_test --gtest_filter=Calls/*",
             "CAMPAIGN_ALL_SIZES=1 CAMPAIGN_STRIDE=1", "CAMPAIGN_ALL_SIZES=1 CAMPAIGN_STRIDE=32",
             "a client killed at any instruction of any call leaves nothing behind"),
        Step("random-kills", "A2", "crash_test --gtest_filter=KillTest.*",
             "CAMPAIGN_TRIALS=10000", "CAMPAIGN_TRIALS=50",
             "8 clients of 4 threads, killed under load, cost the sidecar nothing"),
        Step("stalls", "A3", "crash_test --gtest_filter=StallTest.*",
             "CAMPAIGN_TRIALS=1000", "CAMPAIGN_TRIALS=5",
             "a client that stands still, or keeps its replies, holds nobody up"),
        Step("restarts", "A4", "crash_test --gtest_filter=RestartTest.*",
             "CAMPAIGN_TRIALS=1000", "CAMPAIGN_TRIALS=10",
             "calls that wait are told of the sidecar's death in time, and find the next one"),
        Step("namespaces", "A11", "crash_test --gtest_filter=*NamespacesTest.*",
             "CAMPAIGN_TRIALS=100 CAMPAIGN_STRIDE=2", "CAMPAIGN_TRIALS=2 CAMPAIGN_STRIDE=96",
             "A1, A4 and deadlines across pid, user and time namespaces"),
        Step("hostile-clients", "A5", "hostile_test --gtest_filter=*HarmsNobodyButItself*",
             "NACELLE_HOSTILE_SEEDS=1000", "NACELLE_HOSTILE_SEEDS=2",
             "every scripted lie harms nobody but its client, and is counted by its reason"),
        Step("fetches", "A6", "hostile_fetch_test",
             "NACELLE_HOSTILE_MESSAGES=10000000", "NACELLE_HOSTILE_MESSAGES=20000",
             "no byte of a request is fetched twice, and replies belong to what was fetched"),
        Step("floods", "A12", "hostile_test --gtest_filter=Floods*:*Flood*",
             "NACELLE_HOSTILE_CONNECTS=100000", "NACELLE_HOSTILE_CONNECTS=1000",
             "floods of connections and descriptors leave nothing behind"),
        Step("orders", "A8", "explorer_test --gtest_filter=-*/crash",
             "NACELLE_EXPLORER_DEEPER=1", "NACELLE_EXPLORER_DEEPER=0",
             "the slot protocol holds in every order, and every planted bug is caught"),
        Step("given-up", "T8", "sidecar_test --gtest_filter=*GivenUp*",
             "NACELLE_TEST_CALLS=10000000", "NACELLE_TEST_CALLS=100000",
             "requests given up at any moment leave every slot usable"),
    ),
    "cache": (
        Step("journal-kills", "B1", "journal_crash_test --gtest_filter=JournalKillTest.*",
             "CAMPAIGN_TRIALS=1000 CAMPAIGN_STRIDE=1", "CAMPAIGN_TRIALS=50 CAMPAIGN_STRIDE=16",
             "the journal's writer, killed anywhere, loses nothing that was accepted"),
        Step("power-cuts", "B2", "journal_crash_test --gtest_filter=*APowerCut*",
             "CAMPAIGN_TRIALS=2000", "CAMPAIGN_TRIALS=20",
             "power cuts of ext4 and xfs lose nothing that was durable"),
        Step("power-cuts-of-pages", "B3", "journal_crash_test --gtest_filter=*NorWhenAny*",
             "CAMPAIGN_TRIALS=2000", "CAMPAIGN_TRIALS=20",
             "nor with any of the dirty pages on the disk"),
        Step("disk-states", "B4", "journal_test --gtest_filter=*PowerCutTest*",
             "CAMPAIGN_TRIALS=350000", "CAMPAIGN_TRIALS=12000",
             "nor with unsynced sectors lost, reordered, torn or garbage"),
        Step("damage", "B5", "journal_test --gtest_filter=DamageTest.*",
             "CAMPAIGN_TRIALS=1000000", "CAMPAIGN_TRIALS=10000",
             "bytes that were changed are never served"),
        Step("failing-calls", "B7", "journal_test --gtest_filter=*FaultsTest*",
             "CAMPAIGN_TRIALS=10", "CAMPAIGN_TRIALS=1",
             "a file call that fails costs persistence at most"),
    ),
    "limits": (
        Step("drains", "D9", "crash_test --gtest_filter=DrainTest.*",
             "CAMPAIGN_TRIALS=1000", "CAMPAIGN_TRIALS=10",
             "a SIGTERM at any moment under load loses nothing that was taken"),
        Step("allocations", "D5", "allocation_test",
             "CAMPAIGN_TRIALS=1000000", "CAMPAIGN_TRIALS=20",
             "memory that runs out anywhere ends no process and leaves nothing behind"),
    ),
}


def settings(text):
    return dict(item.split("=", 1) for item in text.split())


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True,
                          check=False).stdout.strip()


def machine():
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{model[1] if model else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, "
            f"{memory:.0f} GiB, Linux {platform.release()}")


def run_step(step, program, extra, environment):
    """The records of a step, and its exit status. Its output goes by as it comes."""
    records = []
    test = None
    command = [program, *step.command.split()[1:]]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True,
                          cwd=ROOT) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            started = re.match(r"\[ RUN      \] (\S+)", line)
            if started:
                test = started[1]
            if line.startswith("RESULT "):
                records.append({"step": step.name, "test": test, **json.loads(line[7:]), **extra})
    if not records:
        records.append({"step": step.name, "test": None, "row": step.row, "trials": 1,
                        "failures": 0, "notes": "", **extra})
    # A test that dies says no result; the exit status has the last word.
    if process.returncode != 0 and not any(record["failures"] for record in records):
        records[-1]["failures"] = 1
        records[-1]["notes"] += f" (exit status {process.returncode})"
    return records


def main():
    parser = argparse.ArgumentParser(prog="./run campaign")
    parser.add_argument("build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("name", choices=CAMPAIGNS)
    parser.add_argument("--quick", action="store_true", help="a few of each, in a minute")
    parser.add_argument("--seed", type=lambda text: int(text, 0), help="to run one once more")
    parser.add_argument("--only", metavar="STEP", help="this step alone")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(2**32)
    steps = [step for step in CAMPAIGNS[arguments.name] if arguments.only in (None, step.name)]
    if not steps:
        parser.error(f"no step '{arguments.only}'; there are "
                     + ", ".join(step.name for step in CAMPAIGNS[arguments.name]))

    now = datetime.datetime.now(datetime.timezone.utc)
    commit = git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    folder = ROOT / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / (f"campaign-{arguments.name}-{now:%Y%m%dT%H%M%SZ}"
                        f"{'-quick' if arguments.quick else ''}.jsonl")
    failed = 0
    with results.open("w") as out:
        for step in steps:
            print(f"==> {step.name} ({step.row}), seed {seed}: {step.asserts}", flush=True)
            chosen = settings(step.quick if arguments.quick else step.full)
            environment = os.environ | chosen | {"CAMPAIGN_SEED": str(seed)}
            program = arguments.build / "bin" / step.command.split()[0]
            extra = {"date": now.isoformat(timespec="seconds"), "commit": commit, "seed": seed,
                     "settings": chosen, "machine": machine()}
            for record in run_step(step, program, extra, environment):
                print(json.dumps(record), file=out, flush=True)
                failed += record["failures"]
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    print(f"\n{results.relative_to(ROOT)}, seed {seed}:")
    for record in rows:
        print(f"  {record['row']:4} {record['trials']:8} trials {record['failures']:3} failed  "
              f"{record['test'] or record['step']}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
