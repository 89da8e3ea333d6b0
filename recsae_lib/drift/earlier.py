"""Which earlier audit the latents of an audit are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Literal

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.publications import Publication


def earlier_audit(
    published: Sequence[Publication],
    against: date | int | Literal["previous"],
    dt: date,
    on_branch: bool,
    namespace: str,
) -> Publication | None:
    """Return the published audit that the one of `dt` is compared with; None by default where there is none yet.

    The date of this audit itself may be named: main shows another one until what is on the branch is published.

    Parameters
    ----------
    published : newest first.
    against : ``drift.against``: the last one of an earlier date, that of a date, or the last one with an SAE version.
    on_branch : whether this audit is on its branch, and not what main shows.
    namespace : of the audits, for what an error says.

    Raises
    ------
    InputError : what is named was never published, or is this audit.
    """
    if against == "previous":
        return next((audit for audit in published if audit.dt < dt), None)
    if isinstance(against, date):
        named = [audit for audit in published if audit.dt == against]
    else:
        named = [audit for audit in published if audit.sae_version == against and audit.dt <= dt]
    if not named:
        what = f"for {against}" if isinstance(against, date) else f"with SAE version {against} up to {dt}"
        raise InputError(
            f"No audit of {namespace} was published {what}",
            "Set drift.against to previous, or to another date or version (`recsae versions`)",
        )
    if named[0].dt == dt and not on_branch:
        raise InputError(
            f"drift.against names the audit of {dt} itself", "Name an earlier one, or encode another SAE first"
        )
    return named[0]
