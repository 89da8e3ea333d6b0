"""Run the benchmarks: python -m tests.benchmarks [--only NAME]. Figures go to var/bench/NAME.json."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.harness import table, write_figures

RESULTS = Path("var/bench")
SHARED = ("__main__", "harness", "sae_peers", "synthetic")
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in SHARED)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help=f"one of: {', '.join(NAMES)}")
    only = parser.parse_args().only
    if only is None:
        # A process for each: a Spark session or a grown heap of one must not be part of the next one's memory.
        command = [sys.executable, "-m", "tests.benchmarks", "--only"]
        return max((subprocess.run([*command, name], check=False).returncode for name in NAMES), default=0)
    benchmark = importlib.import_module(f"tests.benchmarks.{only}")
    print(f"{only}: {benchmark.CONDITIONS}", flush=True)
    work = RESULTS / "data" / only
    work.mkdir(parents=True, exist_ok=True)
    figures = benchmark.measure(work)
    write_figures(RESULTS / f"{only}.json", figures)
    print(table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
