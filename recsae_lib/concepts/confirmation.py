"""When a unit is more than interpretable: the one place that says so, for tables of Spark and of pandas alike."""

from __future__ import annotations

from typing import Any

from recsae_lib.config import VerificationSettings


def is_causal(rows: Any, settings: VerificationSettings) -> Any:
    """Say for which units removal shows (METHOD.md section 6; ours).

    ::

        causal <=> removal_effect >= settings.minimum_removal and removal_p_value < settings.significance

    Parameters
    ----------
    rows : (removal_effect, removal_p_value), a DataFrame of Spark or of pandas.

    Returns
    -------
    Column or Series of truth values; of what was not measured null, and false in pandas.
    """
    return (rows["removal_effect"] >= settings.minimum_removal) & (rows["removal_p_value"] < settings.significance)


def is_found_again(rows: Any, settings: VerificationSettings) -> Any:
    """Say which units another seed finds: found_again >= settings.minimum_found_again.

    Parameters
    ----------
    rows : (found_again), as of `is_causal`, and so is what is returned.
    """
    return rows["found_again"] >= settings.minimum_found_again
