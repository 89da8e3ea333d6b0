from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recsae_lib.config import Settings, as_commented_yaml, load_settings
from recsae_lib.config.loading import RENAMED, known_keys
from recsae_lib.config.section import Section
from recsae_lib.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = REPOSITORY / "conf" / "base.yaml"


def test_base_yaml_is_the_defaults_each_with_its_description() -> None:
    assert BASE.read_text(encoding="utf-8") == as_commented_yaml(Settings()), (
        "run `recsae config --defaults > conf/base.yaml`"
    )


def test_descriptions_are_wrapped_and_stay_whole() -> None:
    def described(section: Section) -> Iterator[str | None]:
        for name, field in type(section).model_fields.items():
            yield field.description
            if isinstance(value := getattr(section, name), Section):
                yield from described(value)

    text = as_commented_yaml(Settings())
    parts = groupby(text.splitlines(), lambda line: line.lstrip().startswith("# "))
    comments = [[line.strip() for line in lines] for comment, lines in parts if comment]
    assert [" ".join(line.removeprefix("# ") for line in lines) for lines in comments] == list(described(Settings()))
    assert max(len(line) for line in text.splitlines() if line.lstrip().startswith("#")) <= 80
    assert Settings.model_validate(yaml.safe_load(text)) == Settings()


def test_the_file_wins_over_the_base_and_set_over_the_file(tmp_path: Path) -> None:
    conf = tmp_path / "mine.yaml"
    conf.write_text("namespace: shop\nsae: {k: 16, expansion_factor: 4}\n", encoding="utf-8")
    settings = load_settings(BASE, conf, ["sae.k=32", "recommender.sasrec.dropout=0.25"])
    assert (settings.namespace, settings.sae.k, settings.sae.expansion_factor) == ("shop", 32, 4)
    assert settings.recommender.sasrec.dropout == 0.25
    assert settings.recommendations.top_n == 20


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sae.kk=3", "unknown key sae.kk (the nearest known one is sae.k)"),
        ("recomender.kind=sasrec", "unknown key recomender (the nearest known one is recommender)"),
        ("sae.k=many", "sae.k: Input should be a valid integer"),
        ("sae.k=0", "sae.k: Input should be greater than or equal to 1, got 0"),
        ("namespace=a b", "namespace: String should match pattern"),
        ('namespace="x\'; DROP TABLE y"', "namespace: String should match pattern"),
        ("dataset.format=excel", "dataset.format: Input should be 'movielens_100k_embedded'"),
        ("dataset.format=csv", "format csv needs dataset.interactions and dataset.items"),
        ("drift.against=yesterday", "drift.against"),
        ("drift.against=0", "drift.against is previous, a date or an SAE version from 1"),
        ("drift.minimum_similarity=0", "drift.minimum_similarity: Input should be greater than 0"),
        ("checks.fail_stable_share=0.6", "fail_stable_share (0.6) must not exceed checks.warn_stable_share (0.5)"),
        ("sae", "is not of the form a.b=value"),
    ],
)
def test_bad_settings_are_refused_with_their_place(override: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        load_settings(BASE, None, [override])
    assert message in str(refusal.value)


def test_a_refused_setting_is_told_without_its_whole_section() -> None:
    with pytest.raises(InputError) as refusal:
        load_settings(BASE, None, ["checks.fail_stable_share=0.6"])
    assert refusal.value.cause == (
        "Settings refused: checks.fail_stable_share (0.6) must not exceed checks.warn_stable_share (0.5)"
    )
    with pytest.raises(InputError) as refusal:
        load_settings(BASE, None, [f"sae.k=[{', '.join(['1'] * 1000)}]"])
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("interpretation.openai.base_url=http://h/v1", "interpretation.openai is now llm: write llm.base_url"),
        (
            "interpretation.openai={model: small, temperature: 0, retries: 1}",
            "interpretation.openai is now llm: write llm.model, interpretation.temperature, llm.retries",
        ),
        ("interpretation.openai=null", "interpretation.openai is now llm"),
        ("interpretation.transport=batch", "interpretation.transport is now llm.transport"),
        (
            "interpretation.interpreter=openai",
            "interpretation.interpreter=openai is now interpretation.interpreter=llm",
        ),
    ],
)
def test_an_old_key_is_refused_with_the_new_one(override: str, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        load_settings(BASE, None, [override])
    assert refusal.value.cause == f"Settings refused: {message}"


def test_every_renamed_key_is_gone_and_its_new_name_known() -> None:
    for old, new in RENAMED.items():
        (old_key, _, old_value), (new_key, _, new_value) = old.partition("="), new.partition("=")
        assert new_key in known_keys()
        assert old_value or old_key not in known_keys()
        assert not new_value or load_settings(BASE, None, [new])


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(InputError) as refusal:
        load_settings(BASE, None, ["sae.k=0", "seed=-1", "device=tpu"])
    for key in ("sae.k", "seed", "device"):
        assert key in str(refusal.value)


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    conf = tmp_path / "bad.yaml"
    conf.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.yaml"):
        load_settings(BASE, conf)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml"):
        load_settings(BASE, Path("nowhere.yaml"))


@settings(deadline=None)
@given(k=st.integers(1, 1024), seed=st.integers(0, 2**31 - 1), share=st.floats(0, 1))
def test_printed_settings_read_back_as_they_were(k: int, seed: int, share: float) -> None:
    settings = load_settings(None, None, [f"sae.k={k}", f"seed={seed}", f"checks.maximum_dead_fraction={share!r}"])
    again = Settings.model_validate(yaml.safe_load(as_commented_yaml(settings)))
    assert again == settings
    assert again.digest() == settings.digest()


@pytest.mark.parametrize("name", ["local.yaml", "ml_1m.yaml", "production.yaml"])
def test_example_settings_are_valid(name: str) -> None:
    load_settings(BASE, REPOSITORY / "conf" / name)
