"""Break things for real in the middle of nights, and compare what they come to with an undisturbed one.

    python -m tests.faults [--only NAME] [--kills 50] [--seed 1]

Each fault is a module of this folder with ``inject(nights) -> list[str]``: what differs afterwards, which must be
nothing. Nights audit the planted data set in folders of their own, as processes. Ends with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from recsae_lib.platform.spark.session import open_session
from tests.catalogs import JDBC_DRIVERS
from tests.faults.nights import FaultError, Nights
from tests.workspace import REPOSITORY, tiny_spark

NAMES = ("lost_servers", "full_disk", "lost_executors", "lost_scheduler", "parallel_dates", "kill_jobs", "kill_nights")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=NAMES, metavar="NAME", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--kills", type=int, default=50, help="of kill_nights (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="draws the moments (default: %(default)s)")
    given = parser.parse_args()
    differing = {}
    with tempfile.TemporaryDirectory() as folder:
        spark = open_session(
            "faults",
            REPOSITORY / "conf" / "spark" / "local.conf",
            {
                "spark.sql.catalog.recsae.warehouse": f"{folder}/warehouse",
                **tiny_spark(*JDBC_DRIVERS),
            },
        )
        nights = Nights(spark, Path(folder), given.kills, given.seed)
        for name in (given.only,) if given.only else NAMES:
            fault = importlib.import_module(f"tests.faults.{name}")
            print(f"{name}: {(fault.__doc__ or '').splitlines()[0]}", flush=True)
            started = time.monotonic()
            try:
                differing[name] = fault.inject(nights)
            except FaultError as error:  # the others are to be injected all the same
                differing[name] = [str(error)]
            seconds = time.monotonic() - started
            print(f"{name}: {', '.join(differing[name]) or 'the same tables'} ({seconds:.0f} s)", flush=True)
        spark.stop()
    return 1 if any(differing.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
