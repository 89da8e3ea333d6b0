from __future__ import annotations

import ast
import subprocess
import sys
from importlib import metadata

from recsae_lib.platform.job.jobs import AUDIT_JOBS, JOBS
from recsae_lib.platform.warehouse import tables
from tests.workspace import REPOSITORY

FOLDER = REPOSITORY / "jobs"
COMMANDS = {"recsae compare", "recsae ratings"}  # which write tables too


def test_an_audit_runs_its_jobs_in_the_order_of_the_flow() -> None:
    assert [job.name for job in AUDIT_JOBS] == [
        "ingest_dataset",
        "train_recommender",
        "extract_representations",
        "recommend_items",
        "train_sae",
        "choose_sae",
        "encode_latents",
        "compute_concept_terms",
        "compute_latent_effects",
        "interpret_concepts",
        "verify_concepts",
        "measure_coverage",
        "tune_recommendations",
        "compare_versions",
        "publish_audit",
        "build_explorer",
    ]


def test_every_job_is_a_file_with_its_spark_submit_line() -> None:
    names = [job.name for job in JOBS]
    assert len(names) == len(set(names))
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(names)
    for name in names:
        assert f"jobs/{name}.py" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def test_every_job_file_defines_what_the_list_says_of_it() -> None:
    for job in JOBS:
        statements = ast.parse((FOLDER / f"{job.name}.py").read_text(encoding="utf-8")).body
        defined = {statement.name for statement in statements if isinstance(statement, ast.FunctionDef)}
        assert defined & {"run", "estimate"} == ({"run", "estimate"} if job.estimates else {"run"}), job.name
        assert ast.unparse(statements[-1]) == "if __name__ == '__main__':\n    main(__file__)", job.name


def test_the_jobs_are_installed_under_a_name_of_their_own() -> None:
    installed = metadata.distribution("recsae").read_text("top_level.txt")
    assert installed is not None
    assert sorted(installed.split()) == ["recsae_conf", "recsae_jobs", "recsae_lib"]
    assert AUDIT_JOBS[0].load().__name__ == "recsae_jobs.ingest_dataset"


def test_every_table_is_written_by_a_job_or_a_command() -> None:
    assert {table.writer for table in tables.TABLES.values()} <= {job.name for job in JOBS} | COMMANDS


def test_reading_the_list_imports_no_heavy_library() -> None:
    program = (
        "import recsae_lib.platform.job.jobs, sys\n"
        "print(sorted({'pyspark', 'mlflow', 'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
