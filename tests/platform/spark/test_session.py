from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.session import absolute_paths, open_session, read_property, refuse_other_spark
from tests.workspace import REPOSITORY


def test_a_missing_properties_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SparkSession, "getActiveSession", classmethod(lambda cls: None))
    with pytest.raises(InputError, match=r"nowhere\.conf"):
        open_session("x", tmp_path / "nowhere.conf")


@pytest.mark.integration
def test_files_with_accents_are_read_in_the_locale_of_c(tmp_path: Path) -> None:
    folder = tmp_path / "día 日本"
    folder.mkdir()
    (folder / "datos.txt").write_text("a\nb\n", encoding="utf-8")
    script = (
        "import sys; from pathlib import Path; from recsae_lib.platform.spark.session import open_session; "
        "spark = open_session('x', Path('conf/spark/local.conf'), {'spark.driver.memory': '1g'}); "
        "print('rows', spark.read.text(sys.argv[1]).count())"
    )
    command = [sys.executable, "-c", script, str(folder / "datos.txt")]
    answer = subprocess.run(
        command, cwd=REPOSITORY, env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False
    )
    assert "rows 2\n" in answer.stdout, answer.stderr


def test_a_spark_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"which has no Spark; PySpark 3\.5"):
        refuse_other_spark()
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "spark-core_2.12-3.4.1.jar").touch()
    with pytest.raises(InputError, match=r"which has Spark 3\.4\.1; PySpark 3.5"):
        refuse_other_spark()
    (tmp_path / "jars" / "spark-core_2.12-3.4.1.jar").rename(tmp_path / "jars" / "spark-core_2.12-3.5.0.jar")
    refuse_other_spark()


def test_relative_warehouse_folders_become_absolute_others_stay(
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
    assert absolute_paths(properties) == {"spark.sql.catalog.a.warehouse": f"{tmp_path}/var/warehouse"}


def test_settings_of_the_log_are_found_beside_the_properties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed").mkdir()
    (tmp_path / "conf").mkdir()
    properties = tmp_path / "installed" / "local.conf"
    properties.write_text("spark.driver.extraJavaOptions -Xss4m -Dlog4j2.configurationFile=conf/log.properties\n")
    (tmp_path / "installed" / "log.properties").touch()
    monkeypatch.chdir(tmp_path)
    beside = f'-Xss4m "-Dlog4j2.configurationFile={tmp_path}/installed/log.properties"'
    assert absolute_paths(properties) == {"spark.driver.extraJavaOptions": beside}
    (tmp_path / "conf" / "log.properties").touch()
    assert absolute_paths(properties) == {}


def test_the_last_value_of_a_repeated_property_counts_as_in_java(tmp_path: Path) -> None:
    properties = tmp_path / "spark.conf"
    properties.write_text("spark.master local[2]\nspark.other x\nspark.master   local[4]\n", encoding="utf-8")
    assert read_property(properties, "spark.master") == "local[4]"
    assert read_property(properties, "spark.none") == ""
