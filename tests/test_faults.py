"""The faults can tell a whole audit from parts of two; the rest of them is run by `make faults`."""

from __future__ import annotations

from tests.faults.readers import Rows, audit_seen

NOTHING: dict[str, Rows] = {"concepts": [], "items": [], "left_out": []}
FIRST: dict[str, Rows] = {"concepts": [("a", 0.5)], "items": [("i", 1)], "left_out": []}
SECOND: dict[str, Rows] = {"concepts": [("b", 0.5)], "items": [("i", 2)], "left_out": []}
KNOWN = {"nothing": NOTHING, "first": FIRST, "second": SECOND}


def test_a_whole_audit_is_recognised_by_all_its_tables() -> None:
    assert audit_seen(KNOWN, NOTHING) == ("nothing", [])
    assert audit_seen(KNOWN, {**FIRST, "concepts": [("a", 0.5 + 1e-9)]}) == ("first", [])
    assert audit_seen(KNOWN, SECOND) == ("second", [])


def test_parts_of_two_audits_are_none() -> None:
    assert audit_seen(KNOWN, {**FIRST, "items": SECOND["items"]}) == ("first", ["items"])
    assert audit_seen(KNOWN, {**SECOND, "left_out": [("u",)]}) == ("second", ["left_out"])
    assert audit_seen(KNOWN, {**FIRST, "concepts": []}) == ("nothing", ["items"])
