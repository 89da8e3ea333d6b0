"""A suite that stands in for the real one: its spark-submit and its Python note how they were called.

A job that is ordered to be real is handed on to the spark-submit of the suite's environment.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
DAGS = REPOSITORY / "airflow_dags"
SUITE = REPOSITORY / ".venv" / "bin"  # where `make install` has put the real one

# Notes how it was called, prints and ends as it was ordered to; for dates that it has no data of, with 2.
PROGRAM = """#!{python}
import json, os, sys, time
folder = {folder!r}
words = sys.argv[1:]
with open(folder + "/called.jsonl", "a") as log:
    log.write(json.dumps({{"words": words, "cwd": os.getcwd(), "environment": dict(os.environ)}}) + chr(10))
orders = json.load(open(folder + "/orders.json"))
for word in words:
    if word in orders["refused"]:
        print("recsae: The audit is not published.", flush=True)
        sys.exit(3)
if words[:2] == ["-m", "recsae_lib.cli"] and words[2] in orders["answers"]:
    print(json.dumps(orders["answers"][words[2]]))
    sys.exit(0)
dates = orders["dates"]
if dates and words[words.index("--dt") + 1] not in dates:
    print("recsae: there is no data of this date. Give another.", flush=True)
    sys.exit(2)
if orders["real"] in words and not os.path.exists(folder + "/real"):
    open(folder + "/real", "w").close()
    os.environ.update(PYSPARK_PYTHON={suite!r} + "/python", PYSPARK_DRIVER_PYTHON={suite!r} + "/python")
    os.execv({suite!r} + "/spark-submit", ["spark-submit", *words])
print(orders["says"], flush=True)
if orders["sleeps"]:
    if os.fork() == 0:
        open(folder + "/child", "w").write(str(os.getpid()))
    time.sleep(orders["sleeps"])
sys.exit(orders["exit_code"])
"""


class StandIn:
    """What stands in, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        for name in ("spark-submit", "python"):
            program = folder / name
            program.write_text(
                PROGRAM.format(python=sys.executable, folder=str(folder), suite=str(SUITE)), encoding="utf-8"
            )
            program.chmod(0o755)
        self.order()

    @property
    def python(self) -> str:
        return str(self.folder / "python")

    def order(
        self,
        exit_code: int = 0,
        says: str = "",
        sleeps: float = 0,
        dates: tuple[str, ...] = (),
        refused: tuple[str, ...] = (),
        real: str | None = None,
        **answers: Any,
    ) -> None:
        """Say how it shall end.

        Parameters
        ----------
        dates : which it has data of; empty for all.
        refused : job files at which a check fails: exit code 3.
        real : job file that is not stood in for when it is first asked for.
        answers : what commands of `recsae` print, as JSON.
        """
        orders = {"exit_code": exit_code, "says": says, "sleeps": sleeps, "dates": dates, "answers": answers}
        orders |= {"refused": refused, "real": real}
        (self.folder / "orders.json").write_text(json.dumps(orders), encoding="utf-8")

    def calls(self) -> list[dict[str, Any]]:
        notes = self.folder / "called.jsonl"
        return [json.loads(line) for line in notes.read_text("utf-8").splitlines()] if notes.exists() else []

    def connection(self, **extra: Any) -> str:
        named = {"home": str(self.home), "python": self.python, "deploy-mode": "client", **extra}
        return json.dumps({"conn_type": "spark", "host": "local[2]", "extra": named})
