"""Ingest each case of a folder and compare with what is expected: python -m tests.datasets.cases FOLDER [NAME …]."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from recsae_lib.platform.spark.session import open_session
from tests.datasets.cases.expected import EXPECTED
from tests.datasets.cases.running import cases_in, run_case
from tests.workspace import REPOSITORY, open_workspace, tiny_spark


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.datasets.cases", description=__doc__)
    parser.add_argument("folder", type=Path, help="has a folder for each case, with its files and settings.yaml")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    arguments = parser.parse_args()
    others = 0
    with tempfile.TemporaryDirectory() as home:
        warehouse = {
            "spark.sql.catalog.recsae.warehouse": f"{home}/tables",
            "spark.sql.warehouse.dir": f"{home}/default",
        }
        spark = open_session("cases", REPOSITORY / "conf" / "spark" / "local.conf", {**tiny_spark(), **warehouse})
        workspace = open_workspace(spark, Path(home) / "work", "cases")
        for case in cases_in(arguments.folder):
            if arguments.names and case.name not in arguments.names:
                continue
            got, expected = run_case(case, workspace), EXPECTED.get(case.name)
            as_expected = expected is not None and got.is_as(expected)
            others += not as_expected
            mark = "as expected" if as_expected else "OTHERWISE"
            print(f"{case.name}: {mark}\n    expected: {expected}\n    got:      {got}", flush=True)
        spark.stop()
    print(f"{others} cases end otherwise than expected")
    return int(others > 0)


if __name__ == "__main__":
    sys.exit(main())
