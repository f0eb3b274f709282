"""The rows of a benchmark written in Python: bench/harness.h tells what they are."""

import json
import statistics
from pathlib import Path


def row(bench, case, unit, ours, peer, peer_name, bound, bound_name, less_is_better):
    """`ours` and `peer` are the runs' measurements; peer and bound may be None."""
    middle = statistics.median(ours)
    theirs = statistics.median(peer) if peer else None
    ratio = None
    if theirs is not None:
        ratio = theirs / middle if less_is_better else middle / theirs
    return {"bench": bench, "case": case, "unit": unit, "ours": middle, "ours_min": min(ours),
            "ours_max": max(ours), "peer": theirs, "peer_name": peer_name if peer else "-",
            "ratio": ratio, "bound": bound, "bound_name": bound_name if bound else "-",
            "runs": len(ours)}


def number(value, suffix=""):
    if value is None:
        return "-"
    return (f"{value:.2f}" if value < 100 else f"{value:.0f}") + suffix


def print_header():
    print(f"{'case':<36} {'unit':<8} {'ours':>8} {'(min .. max)':>18} {'peer':>8} {'ratio':>7} "
          f"{'bound':>8}  peer's name; bound's name", flush=True)


def print_row(values):
    spread = f"({number(values['ours_min'])} .. {number(values['ours_max'])})"
    print(f"{values['case']:<36} {values['unit']:<8} {number(values['ours']):>8} {spread:>18} "
          f"{number(values['peer']):>8} {number(values['ratio'], 'x'):>7} "
          f"{number(values['bound']):>8}  {values['peer_name']}; {values['bound_name']}", flush=True)


def write(path, rows):
    """Rows of other cases that the file has stay in it, so that a long benchmark can run in parts."""
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    cases = {values["case"]: values for values in map(json.loads, before)}
    cases |= {values["case"]: values for values in rows}
    text = "".join(json.dumps(values, ensure_ascii=False) + "\n" for values in cases.values())
    path.write_text(text, encoding="utf-8")
