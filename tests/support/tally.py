"""Adds up what the test runners reported, and ends with the line "N passed, N failed".

    tally.py RUNNER:EXIT-STATUS:JUNIT-FILE...

", N skipped" is appended when tests were skipped, after a list of the reasons. The exit status is 0
only when something passed and nothing failed. A runner is not trusted on its word: a report that is
missing or unreadable, or an exit status that the report does not explain, counts as one failure.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

# What ctest writes for a test that skipped itself, as against one that it could not start.
CTEST_SKIPS = re.compile(r"SKIP_(REGULAR_EXPRESSION_MATCHED|RETURN_CODE=\d+)")
# Exit statuses that only say "see the report": tests failed; pytest found none to run.
EXPLAINED = {"ctest": {0, 8}, "pytest": {0, 1, 5}}


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []  # a line each
        self.skipped = []  # (reason, name)


def skip_reason(case, message):
    """The words of a skipped test: GTEST_SKIP's from its output, or pytest's message."""
    output = case.findtext("system-out") or ""
    said = re.search(r": Skipped\n(.*?)\n?\[  SKIPPED \]", output, re.DOTALL)
    if said:
        return " ".join(said.group(1).split()) or "no reason given"
    if CTEST_SKIPS.fullmatch(message):
        return " ".join(output.split()) or "no reason given"
    return message or "no reason given"


def add_report(tally, runner, status, path):
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        tally.failed.append(f"{runner} left no readable report (exit status {status}): {error}")
        return
    failures_before = len(tally.failed)
    for case in root.iter("testcase"):
        name = case.get("name", "?")
        skipped = case.find("skipped")
        message = skipped.get("message", "") if skipped is not None else ""
        if case.get("status") == "disabled":
            tally.skipped.append(("disabled in the source", name))
        elif case.find("failure") is not None or case.find("error") is not None:
            tally.failed.append(f"{runner}: {name}")
        elif skipped is None:
            tally.passed += 1
        elif runner == "ctest" and not CTEST_SKIPS.fullmatch(message):
            tally.failed.append(f"{runner}: {name} did not run: {message}")
        else:
            tally.skipped.append((skip_reason(case, message), name))
    if status not in EXPLAINED[runner] or (
        status in (1, 8) and len(tally.failed) == failures_before
    ):
        tally.failed.append(f"{runner} ended with status {status}, which its report does not explain")


def main(arguments):
    tally = Tally()
    for argument in arguments:
        runner, status, path = argument.split(":", 2)
        add_report(tally, runner, int(status), path)

    print()
    for reason in sorted({reason for reason, _ in tally.skipped}):
        names = [name for other, name in tally.skipped if other == reason]
        print(f"skipped {len(names)} ({names[0]}{', ...' if len(names) > 1 else ''}): {reason}")
    for line in tally.failed:
        print(f"FAILED {line}")
    if tally.passed == 0 and not tally.failed:
        print("nothing ran")
    skipped = f", {len(tally.skipped)} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {len(tally.failed)} failed{skipped}")
    return 0 if tally.passed > 0 and not tally.failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
