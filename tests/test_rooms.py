"""Imports run one way: each folder of the library knows only those that stand before it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.workspace import REPOSITORY

METHOD = (
    *("datasets", "recommenders", "representations", "sae", "concepts", "interpretation", "verification"),
    *("drift", "tuning", "explorer", "ratings"),
)
FOUNDATION = ("errors", "redaction", "printable", "__init__", "config")
# What stands on the method: nothing of the library imports it but what comes after it.
ABOVE = ("jobs", "flow", "cli")
# Tracking writes down what was trained, so it knows recommenders and dictionaries; the rest of the platform does not.
KNOWN_TO_TRACKING = ("recommenders", "sae")
MAY_IMPORT = {
    "mlflow": ("recsae_lib/platform/tracking/", "recsae_lib/sae/served.py", "recsae_lib/recommenders/served.py"),
    "airflow": (),
    "boto3": ("recsae_lib/platform/storage/object_store.py",),
}
TABLE_CALLS = {"table", "sql", "writeTo", "saveAsTable", "insertInto"}
# Tables of the user's, and one that is made to be thrown away.
OTHER_TABLES = {
    "recsae_lib/datasets/formats/own_tables.py",
    "recsae_lib/recommenders/foreign/tables.py",
    "recsae_lib/platform/spark/submission.py",
}
# The doors to a terminal: where text is made safe for it (`printable`).
DOORS = {"recsae_lib/printable.py", "recsae_lib/cli/terminal.py", "recsae_lib/platform/job/log.py"}
SPARKLESS = ("recsae_lib/sae/", "recsae_lib/platform/compute/", "recsae_lib/config/")


def modules() -> Iterator[tuple[str, str]]:
    """Path from the repository, and every dotted name that the module there imports, also inside of functions."""
    for path in sorted([*(REPOSITORY / "recsae_lib").rglob("*.py"), *(REPOSITORY / "jobs").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                yield path.relative_to(REPOSITORY).as_posix(), name


def room_of(path: str) -> str:
    """The folder of the library that a module lies in; jobs for all jobs."""
    first, second, *_ = path.removesuffix(".py").split("/")
    return "jobs" if first == "jobs" else second


def room_of_name(name: str) -> str | None:
    """The folder of the library that an imported name comes from; None of other packages."""
    first, *rest = name.split(".")
    return "jobs" if first in ("jobs", "recsae_jobs") else rest[0] if first == "recsae_lib" else None


def may_know(room: str, path: str) -> set[str]:
    """The folders that a module may import from, its own included."""
    known = {room, *FOUNDATION, "__version__"}
    if room in FOUNDATION:
        return known
    known.add("platform")
    if room == "platform":
        return known | (set(KNOWN_TO_TRACKING) if path.startswith("recsae_lib/platform/tracking/") else set())
    if room in METHOD:
        return known | set(METHOD[: METHOD.index(room)])
    return known | set(METHOD) | set(ABOVE[: ABOVE.index(room)])


def test_each_folder_imports_only_what_stands_before_it() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, name in modules()
        if (room := room_of_name(name)) is not None and room not in may_know(room_of(path), path)
    ]
    assert wrong == []


def test_some_packages_are_known_to_one_folder_only() -> None:
    wrong = [
        f"{path} imports {name}"
        for path, name in modules()
        if (allowed := MAY_IMPORT.get(name.split(".")[0])) is not None and not path.startswith(allowed)
    ]
    assert wrong == []


def test_the_dictionary_and_its_training_know_no_spark() -> None:
    assert [path for path, name in modules() if path.startswith(SPARKLESS) and name.startswith("pyspark")] == []


def test_only_the_warehouse_touches_our_tables() -> None:
    touching = set()
    for path in [*(REPOSITORY / "recsae_lib").rglob("*.py"), *(REPOSITORY / "jobs").glob("*.py")]:
        called = {node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)}
        if any(isinstance(function, ast.Attribute) and function.attr in TABLE_CALLS for function in called):
            touching.add(path.relative_to(REPOSITORY).as_posix())
    assert {path for path in touching if not path.startswith("recsae_lib/platform/warehouse/")} == OTHER_TABLES


def test_what_is_printed_passes_a_door() -> None:
    printing = set()
    for path in [*(REPOSITORY / "recsae_lib").rglob("*.py"), *(REPOSITORY / "jobs").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if ast.unparse(node) in ("print", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
                printing.add(path.relative_to(REPOSITORY).as_posix())
    assert printing == DOORS
    rich = {path for path, name in modules() if name.split(".")[0] == "rich" and name != "rich.cells.cell_len"}
    assert rich == {"recsae_lib/cli/terminal.py"}  # cell_len only measures


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {path.name for path in (REPOSITORY / "recsae_lib").iterdir() if (path / "__init__.py").is_file()}
    assert folders <= {"config", "platform", "flow", "cli", *METHOD}
    loose = {path.name for path in (REPOSITORY / "recsae_lib").glob("*") if path.is_file()}
    assert loose <= {"__init__.py", "errors.py", "redaction.py", "printable.py", "py.typed", "METHOD.md", "README.md"}


def test_no_module_has_more_than_350_lines() -> None:
    code = [
        path for folder in ("recsae_lib", "jobs", "airflow_dags") for path in Path(REPOSITORY, folder).rglob("*.py")
    ]
    assert [str(path) for path in code if len(path.read_text(encoding="utf-8").splitlines()) > 350] == []
