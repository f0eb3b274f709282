#!/usr/bin/env python3
"""The tree tests itself: who may include whom, dead files, and what else a machine can see.

    tree.py                    check every rule; exit status 1 when one is broken
    tree.py RULE               check one rule
    tree.py --self-test RULE   plant violations of the rule in a small tree and see them caught
    tree.py --list             the rules' names, a line each; ctest has two tests for each of them

Standard library only. layers.py has the table that a change to the architecture edits,
rules.py the rules, and planted.py what each of them must catch.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import planted  # noqa: E402
import rules  # noqa: E402

SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def check(root, name, build):
    """Prints what is wrong with the tree at `root` by one rule; the exit status."""
    tree = rules.Tree(root, build)
    broken = rules.RULES[name](tree)
    if broken is None:
        print(f"{name}: skipped, {tree.why_skipped}")
        return SKIPPED
    for note in tree.notes:
        print(f"{name}: note: {note}")
    for line in broken:
        print(f"{name}: {line}")
    return 1 if broken else 0


def self_test(name):
    """A rule must accept the small good tree, and reject it after each planted violation."""
    plants = planted.PLANTS.get(name, [])
    if not plants:
        print(f"{name}: nothing is planted for this rule in planted.py")
        return 1
    status = 0
    for plant in [None, *plants]:
        with tempfile.TemporaryDirectory(prefix="nacelle-tree-") as folder:
            root = Path(folder)
            planted.make(root, name, plant)
            found = rules.RULES[name](rules.Tree(root, root / "build"))
            if plant is None and found:
                print(f"{name}: the good tree is rejected: {found}")
                status = 1
            elif plant is not None and not any(plant.expect in line for line in found or []):
                print(f"{name}: not caught: {plant.what} (wanted {plant.expect!r}, got {found})")
                status = 1
    print(f"{name}: {len(plants)} planted")
    return status


def main():
    parser = argparse.ArgumentParser(description="Checks the rules of the source tree.")
    parser.add_argument("rule", nargs="?", choices=sorted(rules.RULES))
    parser.add_argument("--self-test", metavar="RULE", choices=sorted(rules.RULES))
    parser.add_argument("--list", action="store_true")
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--build", type=Path, default=root / "build/dev",
                        help="the CMake build folder, for what is compiled and for libnacelle.so")
    arguments = parser.parse_args()

    if arguments.list:
        print("\n".join(rules.RULES))
        return 0
    if arguments.self_test:
        return self_test(arguments.self_test)
    if arguments.rule:
        return check(root, arguments.rule, arguments.build)
    statuses = [check(root, name, arguments.build) for name in rules.RULES]
    return 1 if 1 in statuses else 0


if __name__ == "__main__":
    sys.exit(main())
