"""Which settings a person may set who may only start runs of a scheduler: numbers and choices of the method.

Whatever names code, a file, an address, a variable, a table or a column comes from the settings file alone, and so do
the limits that guard publication and money. A new setting is refused unless its section is listed here and its type
holds nothing but numbers, truth values, dates and listed words.
"""

from __future__ import annotations

import argparse
from datetime import date, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from recsae_lib.config.section import Section
from recsae_lib.config.settings import Settings

HARMLESS_TYPES = (int, float, bool, date, datetime, NoneType)
# "" has the settings that are in no section. Not here: catalog, paths, spark, dataset, llm, checks, maintenance, and of
# recommenders those of your own, module and external.
OPEN_SECTIONS = {
    *("", "recommender", "recommender.sasrec", "recommender.bpr_mf", "recommender.lightgcn", "recommender.timirec"),
    *("recommender.split", "representations", "recommendations", "sae", "evidence", "terms", "interpretation"),
    *("verification", "coverage", "drift"),
}
# A kind may be the one that runs code of yours; the language model costs money.
CLOSED = {"recommender.kind", "interpretation.interpreter", "verification.judges"}


def classified_settings() -> dict[str, bool]:
    """Every setting by its dotted name, and whether it is open to who may only start runs."""
    found: dict[str, bool] = {}

    def visit(section: type[Section], prefix: str) -> None:
        for name, field in section.model_fields.items():
            key = f"{prefix}{name}"
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                visit(field.annotation, f"{key}.")
            else:
                is_open = prefix.rstrip(".") in OPEN_SECTIONS and key not in CLOSED
                found[key] = is_open and is_harmless(field.annotation)

    visit(Settings, "")
    return found


def open_settings() -> list[str]:
    """Names of the open settings, in the order of the settings."""
    return [name for name, is_open in classified_settings().items() if is_open]


def is_harmless(kind: Any) -> bool:
    """Whether a type of a setting holds nothing but numbers, truth values, dates and listed words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return True
    if origin is Annotated:
        return is_harmless(arguments[0])
    if origin in (Union, UnionType, tuple):
        return all(is_harmless(one) for one in arguments if one is not ...)
    if isinstance(kind, type) and issubclass(kind, Section):
        return all(is_harmless(field.annotation) for field in kind.model_fields.values())
    return kind in HARMLESS_TYPES


def open_setting(text: str) -> str:
    """Type of the argument ``--set-by-trigger``: ``a.b=value`` of an open setting."""
    key, separator, _ = text.partition("=")
    if not separator or key not in open_settings():
        raise argparse.ArgumentTypeError(
            f"{key} cannot be set by who starts a run; it comes from the settings file alone. "
            "`recsae config --triggerable` lists what can"
        )
    return text
