from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import CheckSettings
from recsae_lib.datasets.refusals import require_few_rejects
from recsae_lib.errors import InputError

SCHEMA = "reason string, record string"


def test_too_many_rejects_are_told_by_their_commonest_reason(
    spark: SparkSession, caplog: pytest.LogCaptureFixture
) -> None:
    rejects = spark.createDataFrame([("no time", "a,12h"), ("no time", "b,13h"), ("no id", ",5")], SCHEMA)
    with pytest.raises(InputError) as failure:
        require_few_rejects(rejects, 17, CheckSettings())
    assert str(failure.value) == (
        "3 of 20 rows are refused (15%), checks.maximum_reject_share is 0.05; 2 of them because no time, such as "
        "'a,12h'. Mend the rows (table rejects), or raise checks.maximum_reject_share."
    )
    assert caplog.messages == ["2 rows rejected: no time", "1 rows rejected: no id"]
    require_few_rejects(rejects, 57, CheckSettings())
    require_few_rejects(rejects.limit(0), 0, CheckSettings())


def test_repeats_of_a_play_log_have_a_setting(spark: SparkSession) -> None:
    rejects = spark.createDataFrame([("the user has this item at this time already", "u,i")], SCHEMA)
    with pytest.raises(InputError, match=r"Set dataset\.repeats to last or sum"):
        require_few_rejects(rejects, 1, CheckSettings())
