"""Names of the JVM are looked up once, and what they stand for stays right."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from recsae_lib.platform.spark.jvm_names import remember_names

REFLECTION = "r\n"  # with which a command of Py4J begins that asks what a name is


def test_a_function_is_looked_up_once(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Any:
        return F.when(F.col("id") > F.lit(1), F.concat_ws("-", F.lit("a"), F.col("id"))).otherwise(F.lit("b"))

    build()
    client: Any = spark.sparkContext._gateway._gateway_client  # type: ignore[union-attr]
    sent: list[str] = []
    monkeypatch.setattr(client, "send_command", lambda command, *rest: _noted(client, sent, command, *rest))
    column = build()
    assert sent
    assert [command for command in sent if command.startswith(REFLECTION)] == []
    monkeypatch.undo()
    assert [row[0] for row in spark.range(3).select(column).collect()] == ["b", "b", "a-2"]


def _noted(client: Any, sent: list[str], command: str, *rest: Any) -> Any:
    sent.append(command)
    return type(client).send_command(client, command, *rest)


def test_packages_classes_and_methods_are_kept_fields_not(spark: SparkSession) -> None:
    jvm: Any = spark.sparkContext._jvm
    remember_names(jvm)
    system = jvm.java.lang.System
    assert jvm.java.lang.System is system
    assert system.lineSeparator is system.lineSeparator
    assert jvm.java.util.Map.Entry is jvm.java.util.Map.Entry
    assert jvm.java.lang.Integer.MAX_VALUE == 2**31 - 1
    assert "MAX_VALUE" not in vars(jvm.java.lang.Integer)
    assert jvm.java.util.ArrayList([1, 2]).size() == 2
