from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsae_lib.platform.spark.session import iceberg_jars
from recsae_lib.platform.spark.submission import submit_options
from tests.workspace import CLASS_ARCHIVES, REPOSITORY, java_options, tiny_spark


def test_properties_that_name_an_archive_of_classes_keep_it(tmp_path: Path) -> None:
    properties = tmp_path / "spark.conf"
    properties.write_text("spark.driver.extraJavaOptions -XX:SharedArchiveFile=/opt/spark.jsa\n", encoding="utf-8")
    assert submit_options(properties, tmp_path / "archives")["properties"] == {}
    assert not (tmp_path / "archives").exists()


@pytest.mark.integration
def test_a_jvm_takes_sparks_classes_from_the_archive(tmp_path: Path) -> None:
    of_tests = java_options()  # the first that asks for it has it made
    command = [sys.executable, "-m", "recsae_lib.cli", "spark", "--class-archives", str(CLASS_ARCHIVES)]

    def options() -> dict[str, dict[str, str]]:
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        given: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
        return given

    first = options()
    given_options = first["properties"]["spark.driver.extraJavaOptions"]
    assert given_options.startswith("-Dlog4j2.configurationFile=")
    _, _, name = given_options.partition(" -XX:SharedArchiveFile=")
    archive = Path(name)
    assert of_tests.endswith(f" -XX:SharedArchiveFile={archive}")
    made = archive.stat().st_mtime_ns

    loaded, class_path = tmp_path / "loaded.txt", tiny_spark()["spark.driver.extraClassPath"]
    submit = Path(sys.executable).with_name("spark-submit")
    given = f"spark.driver.extraJavaOptions={given_options} -Xlog:class+load:file={loaded}"
    subprocess.run(
        [submit, "--jars", ",".join(iceberg_jars()), "--driver-class-path", class_path, "--conf", given, "--version"],
        cwd=REPOSITORY,
        env={**os.environ, **first["environment"]},
        capture_output=True,
        check=True,
    )
    ours = [line for line in loaded.read_text("utf-8").splitlines() if " org.apache.spark.deploy.SparkSubmit " in line]
    assert ours
    assert all("shared objects file" in line for line in ours)
    assert options() == first
    assert archive.stat().st_mtime_ns == made  # it is made once
