from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from recsae_lib.drift.earlier import earlier_audit
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.publications import Publication
from tests.publishing import publication

FRIDAY, SATURDAY, SUNDAY = (date(2026, 11, day) for day in (20, 21, 22))
OF_SUNDAY, OF_SATURDAY, OF_FRIDAY = (publication(dt, sae) for dt, sae in ((SUNDAY, 6), (SATURDAY, 5), (FRIDAY, 5)))
PUBLISHED = [OF_SUNDAY, OF_SATURDAY, OF_FRIDAY]


def earlier(against: Any, dt: date, on_branch: bool = True) -> Publication | None:
    return earlier_audit(PUBLISHED, against, dt, on_branch, "shop")


def test_by_default_it_is_the_last_one_of_an_earlier_date() -> None:
    assert earlier("previous", SUNDAY) == OF_SATURDAY
    assert earlier("previous", SATURDAY) == OF_FRIDAY
    assert earlier("previous", FRIDAY) is None


def test_a_date_or_a_version_may_be_named() -> None:
    assert earlier(FRIDAY, SUNDAY) == OF_FRIDAY
    assert earlier(5, SUNDAY) == OF_SATURDAY  # the last one with this version
    assert earlier(5, FRIDAY) == OF_FRIDAY  # of a later date there may be one too
    assert earlier(SUNDAY, SATURDAY) == OF_SUNDAY


def test_what_was_never_published_is_refused() -> None:
    with pytest.raises(InputError, match="No audit of shop was published for 2026-11-01"):
        earlier(date(2026, 11, 1), SUNDAY)
    with pytest.raises(InputError, match="with SAE version 6 up to 2026-11-21"):
        earlier(6, SATURDAY)


def test_an_audit_is_not_compared_with_itself() -> None:
    assert earlier(SUNDAY, SUNDAY) == OF_SUNDAY  # main shows another one than the branch
    with pytest.raises(InputError, match="names the audit of 2026-11-22 itself"):
        earlier(SUNDAY, SUNDAY, on_branch=False)
