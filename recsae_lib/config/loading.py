"""Settings from conf/base.yaml, a file and the command line; their faults in words; all of them as YAML."""

from __future__ import annotations

import difflib
import json
import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recsae_lib.config.recommenders import PRESETS
from recsae_lib.config.section import Section
from recsae_lib.config.settings import Settings
from recsae_lib.errors import InputError

_FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without it
COMMENT_WIDTH = 80  # as wide as a terminal; conf/base.yaml is the same text
# Keys of earlier releases: a key, a section or key=value, and what it is now.
RENAMED = {
    "interpretation.openai": "llm",
    "interpretation.openai.temperature": "interpretation.temperature",
    "interpretation.transport": "llm.transport",
    "interpretation.interpreter=openai": "interpretation.interpreter=llm",
}


def load_settings(
    base: Path | None, conf: Path | dict[str, Any] | None = None, overrides: list[str] | None = None
) -> Settings:
    """Resolve settings from `base`, then the preset, then `conf`, then `overrides` (``a.b=value``, value in YAML).

    Parameters
    ----------
    base, conf : settings files; or, for conf, what such a file would hold.

    Raises
    ------
    InputError : a file is missing or no YAML mapping, a key is unknown (the nearest known one is named), or a
        value has the wrong type or lies out of bounds; all faults are reported together.
    """
    given = read_yaml(conf) if isinstance(conf, Path) else conf or {}
    for override in overrides or []:
        given = merge(given, _parse_override(override))
    merged = merge(read_yaml(base) if base is not None else {}, _preset(given))
    merged = merge(merged, given)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise InputError(
            f"Settings refused: {explain_faults(error)}", "`recsae config` lists every setting with its description"
        ) from None


def as_commented_yaml(settings: Settings, only_changed: bool = False) -> str:
    """Every setting in YAML, each below its description; conf/base.yaml is this text for the defaults.

    Parameters
    ----------
    only_changed : settings that have their default stand behind a ``#``, right before the name.
    """
    lines: list[str] = []

    def visit(section: Section, defaults: Section, indent: str) -> None:
        plain = section.model_dump(mode="json")
        for name, field in type(section).model_fields.items():
            value, default = getattr(section, name), getattr(defaults, name)
            lines.extend(_comment(field.description or "", indent))
            if isinstance(value, Section):
                lines.append(f"{indent}{name}:")
                visit(value, default, indent + "  ")
            else:
                hidden = "#" if only_changed and value == default else ""
                lines.append(f"{indent}{hidden}{name}: {json.dumps(plain[name], ensure_ascii=False)}")

    visit(settings, Settings(), "")
    return "\n".join(lines) + "\n"


def _comment(description: str, indent: str) -> list[str]:
    """A description as lines of comment that fit a terminal."""
    begin = f"{indent}# "
    return textwrap.wrap(
        description,
        COMMENT_WIDTH,
        initial_indent=begin,
        subsequent_indent=begin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def known_keys() -> list[str]:
    """Dotted names of all settings and sections."""
    keys: list[str] = []

    def visit(section: type[Section], prefix: str) -> None:
        for name, field in section.model_fields.items():
            keys.append(prefix + name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                visit(field.annotation, f"{prefix}{name}.")

    visit(Settings, "")
    return keys


def _preset(given: dict[str, Any]) -> dict[str, Any]:
    recommender = given.get("recommender")
    name = recommender.get("preset") if isinstance(recommender, dict) else None
    return {"recommender": PRESETS[name]} if isinstance(name, str) and name in PRESETS else {}


def explain_faults(error: ValidationError) -> str:
    """All faults in one line; an unknown key with the nearest known one."""
    return "; ".join(_explain(fault) for fault in error.errors())


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises
    ------
    InputError : the file cannot be read or holds something else.
    """
    try:
        content = _load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Cannot read the settings file {path}: {error.strerror}", "Give --conf a readable file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}", "Mend the file") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not settings", "Write `key: value` lines")
    return content


def _load_yaml(text: str) -> Any:
    """Load the text of a file by the parser in C, ten times as fast; that in Python quotes the line of a fault."""
    try:
        return yaml.load(text, Loader=_FastLoader)
    except yaml.YAMLError:
        return yaml.safe_load(text)


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override!r} is not of the form a.b=value", "Write for example --set sae.k=16")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"The value of --set {override!r} is not valid YAML", "Quote it") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lay one tree of settings over another; a section that holds nothing changes nothing."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(merged.get(key), dict) and (value is None or isinstance(value, dict)):
            merged[key] = merge(merged[key], value or {})
        else:
            merged[key] = value
    return merged


def _explain(fault: Any) -> str:
    location = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("literal[", "constrained-")))
    if location in RENAMED:
        return _explain_renamed(location, fault["input"])
    if (renamed := f"{location}={fault['input']}") in RENAMED:
        return f"{renamed} is now {RENAMED[renamed]}"
    if fault["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(location, known_keys(), n=1, cutoff=0.0)
        return f"unknown key {location} (the nearest known one is {nearest[0]})"
    message = str(fault["msg"]).removeprefix("Value error, ")
    given = fault["input"]
    if not fault["loc"] or message.startswith(location):
        return message
    # A whole section says nothing: what is wrong in it stands in the message.
    value = "" if isinstance(given, dict | Section) else f", got {textwrap.shorten(repr(given), 100)}"
    return f"{location}: {message}{value}"


def _explain_renamed(key: str, value: object) -> str:
    """Say what a key is called now, and, of a section, the new name of each key that is given in it."""
    given = value if isinstance(value, dict) else {}
    names = [RENAMED.get(f"{key}.{name}", f"{RENAMED[key]}.{name}") for name in given]
    return f"{key} is now {RENAMED[key]}" + (f": write {', '.join(names)}" if names else "")
