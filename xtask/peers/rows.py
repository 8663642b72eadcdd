"""What the scripts beside this one share: rows are measured in turn, round by round, and the figures are written in the form
of `cargo xtask bench --json`.

    python SCRIPT ROUNDS OUT.json PHOTOS NAME...

PHOTOS is the folder with the photos that `loader` reads on both sides. A script hands a function to `main` that says which
rows there are for a NAME, by the row a function that makes the `Work`. A row that cannot be measured is in the file as well,
with the reason.
"""

import json
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Callable, NamedTuple

warnings.filterwarnings("ignore")

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = 0.5


class Work(NamedTuple):
    """What one call of `run` does `count` of; compilers and fusers work at the first `warm` calls."""

    count: float
    run: Callable
    warm: int = 3


def has_bf16():
    """Whether the processor computes bf16 itself; where it does not, it is emulated and up to ninety times slower."""
    words = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return any(flag in words for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def rate(work):
    start, done = time.perf_counter(), 0
    while True:
        work.run()
        done += work.count
        seconds = time.perf_counter() - start
        if seconds >= ENOUGH:
            return done / seconds


def measure(name, unit, rows, rounds):
    """The figures of one name, and what failed."""
    works, failed = {}, []
    for row, make in rows.items():
        try:
            if "bf16" in row and not has_bf16():
                raise RuntimeError("this processor has no bf16")
            works[row] = make()
            for _ in range(works[row].warm):
                works[row].run()
        except Exception as error:  # a way that this machine cannot go
            works.pop(row, None)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            failed.append({"name": f"{name} {row}", "reason": reason})
    rates = {row: [] for row in works}
    for _ in range(rounds):
        for row, work in works.items():
            rates[row].append(rate(work))
    figures = [
        {
            "name": f"{name} {row}", "unit": unit, "median": statistics.median(found),
            "low": min(found), "high": max(found), "rounds": found,
        }
        for row, found in rates.items()
    ]  # fmt: skip
    return figures, failed


def main(rows_of, machine):
    """`rows_of(kind, rest, photos)` gives the unit and the rows of the name `kind rest`; no rows where there are none."""
    rounds, out, photos, *names = sys.argv[1:]
    figures, failed = [], []
    for name in names:
        kind, _, rest = name.partition(" ")
        unit, rows = rows_of(kind, rest, Path(photos))
        found, not_found = measure(name, unit, rows, int(rounds))
        figures += found
        failed += not_found
    with open(out, "w") as file:
        json.dump({"machine": machine, "figures": figures, "failed": failed}, file, indent=1)
