"""What a person may set who may only start runs: nothing that names code, a file, an address, a key or a table."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Literal

import pytest

from recsae_lib.cli.main import main
from recsae_lib.config.loading import known_keys
from recsae_lib.config.triggers import classified_settings, is_harmless, open_settings
from recsae_lib.errors import InputError
from recsae_lib.platform.job.arguments import settings_of
from tests.workspace import REPOSITORY

LIST = REPOSITORY / "airflow_dags" / "recsae_dags" / "open_settings.txt"
HOSTILE = [
    *("recommender.module.factory=os:system", "recommender.module.arguments={command: id}", "recommender.kind=module"),
    *("recommender={module: {factory: os:system}}", "recommender.module={factory: os:system}", "llm={}"),
    *("llm.base_url=http://elsewhere", "llm.api_key_variable=AWS_SECRET_ACCESS_KEY", "llm.model=dearest"),
    *("llm.headers={x: '${AWS_SECRET_ACCESS_KEY}'}", "llm.extra_body={a: 1}", "llm.budget_cost=1e9"),
    *("paths.tracking_uri=http://elsewhere", "paths.var=/", "paths.locks=s3://elsewhere/x", "paths={var: /}"),
    *("spark.properties=/tmp/evil.conf", "catalog=other", "namespace=other", "recommender.name=other"),
    *("dataset.path=/etc", "dataset.interactions=/etc/passwd", "dataset.format=csv", "dataset.columns.title=password"),
    *("interpretation.prompt=/etc/passwd", "verification.judge_prompt=/etc/passwd", "interpretation.interpreter=llm"),
    *("checks.maximum_fvu=1e9", "maintenance.keep_nights=1", "representations.sites=[../x]", "evidence.salt=x"),
    *("sae.k.x=1", "sae.k =8", " sae.k=8", "SAE.k=8", "sae=8", "sae.\u043a=8", "", "=", "sae.k"),
]


@pytest.mark.parametrize("setting", HOSTILE)
def test_it_is_refused_in_the_process_that_is_started(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["config", "--set-by-trigger", setting])
    assert ending.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "cannot be set by who starts a run; it comes from the settings file alone" in said.err


def test_who_has_a_shell_may_set_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["config", "--set", "paths.var=/elsewhere", "--set-by-trigger", "sae.k=3", "--set", "sae.k=4"])
    assert ending.value.code == 0
    said = capsys.readouterr().out
    assert 'var: "/elsewhere"' in said
    assert "\n  k: 4\n" in said


def test_every_setting_is_classified_and_the_dags_have_the_list() -> None:
    sections = {key.rpartition(".")[0] for key in known_keys()}
    assert set(classified_settings()) == set(known_keys()) - sections
    assert LIST.read_text(encoding="utf-8").split() == open_settings(), (
        "run `recsae config --triggerable > airflow_dags/recsae_dags/open_settings.txt`, and look what has become open"
    )


def test_no_open_setting_takes_text_that_is_not_listed() -> None:
    for name in open_settings():
        for text in ("os:system", "/etc/passwd", "http://elsewhere", "[os:system]", "{a: /etc}"):
            given = Namespace(conf=None, overrides=[f"{name}={text}"])
            with pytest.raises(InputError, match="Settings refused"):
                settings_of(given)


@pytest.mark.parametrize(
    ("kind", "harmless"),
    [
        (int, True),
        (float | None, True),
        (Literal["a", "b"], True),
        (tuple[Literal["a"], ...], True),
        (tuple[int, ...] | None, True),
        (str, False),
        (str | None, False),
        (tuple[str, ...], False),
        (list[int], False),
        (dict[str, int], False),
        (Any, False),
        (object, False),
        (Path, False),
        (int | str, False),
    ],
)
def test_only_numbers_dates_and_listed_words_are_harmless(kind: Any, harmless: bool) -> None:
    assert is_harmless(kind) is harmless
