"""Python literals as JSON, hostile ones among them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.datasets.parsing.python_literals import NO_OBJECT, literal_as_json

values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))


@given(st.dictionaries(st.text(), values))
def test_what_python_prints_is_read_back(printed: dict[str, object]) -> None:
    converted, fault = literal_as_json(repr(printed), tuple(printed))
    assert fault is None
    assert json.loads(converted or "") == printed


def test_a_literal_keeps_wanted_fields_and_json_all() -> None:
    assert literal_as_json("{'a': ('x', 1), 'b': {2}}", ("a", "c")) == ('{"a": ["x", 1]}', None)
    assert literal_as_json('{"a": 1e400, "b": true}', ("a",)) == ('{"a": 1e400, "b": true}', None)


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').system('exit')",
        "{'a': open('x')}",
        "{'a': 1 .__class__}",
        "{'a': [x for x in (1,)]}",
        "{'a': f'{1}'}",
        "{'a': b'bytes'}",
        "{'a': {1}}",
        "{[]: 1}",
        "{**{}}",
        "[" * 199_000,
        "{'a':" * 30_000,
        "1+" * 99_000 + "1",
        "~" * 199_000,
        "a" + ".b" * 90_000,
        "{'a': " + "9" * 100_000 + "}",
        "{'a': '\0'}",
        "",
        "null",
        "[1]",
        "{'a': 'open",
    ],
)
def test_what_is_no_plain_dict_is_refused(line: str) -> None:
    assert literal_as_json(line, ("a",)) == (None, NO_OBJECT)
