"""Nothing that is printed steers a terminal, hides, or passes for a line of its own; JSON stays what it is."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsae_lib.cli.terminal import Terminal, print_csv, print_json, print_table
from recsae_lib.errors import InputError
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.log import JsonLines, TextLines
from recsae_lib.printable import indented, on_one_line, plain, printable, say

HOSTILE = "a\x1b[2J\x00\x07\x9b31m\u202egnp\u2066\u200b\U000e0041\r\x7fz"
SHOWN = r"a\u001b[2J\u0000\u0007\u009b31m\u202egnp\u2066\u200b\udb40\udc41\r\u007fz"
# Format characters that scripts are spelled with, and signs that are seen.
KEPT = {"\u200c", "\u200d", *"\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"}
KEPT |= {chr(code) for code in range(0x13430, 0x13440)}  # how hieroglyphs stand to each other


def steers(character: str) -> bool:
    """Whether Unicode calls a character a control, a format character, a separator of lines, or half of a pair."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") and character not in KEPT


def test_every_character_that_steers_is_escaped_and_no_other() -> None:
    every = [chr(code) for code in range(0x110000)]
    assigned = [character for character in every if unicodedata.category(character) != "Cn"]
    assert [c for c in assigned if (printable(c) != c) != (steers(c) and c not in "\n\t")] == []
    assert [c for c in assigned if on_one_line(c) == "\\n"] == ["\n"]
    assert [c for c in assigned if unicodedata.category(c) != "Cs" and (plain(c) != c) != steers(c)] == []


def test_hostile_text_is_shown_as_it_is_written() -> None:
    assert printable(HOSTILE) == SHOWN
    assert (printable("tab\tand\nline"), on_one_line("a\nb")) == ("tab\tand\nline", "a\\nb")
    assert indented("a\nrecsae: all is well") == "a\n  recsae: all is well"
    assert printable("فارسی\u200cها 👩\u200d🚀 naïve") == "فارسی\u200cها 👩\u200d🚀 naïve"
    assert plain(HOSTILE) == "a [2J   31mgnp   z"


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_json_says_the_same_after_it(value: object) -> None:
    line = printable(json.dumps(value, ensure_ascii=False))
    assert json.loads(line) == value
    assert not any(steers(character) for character in line)


@pytest.mark.parametrize("formatter", [TextLines("%(message)s"), JsonLines()])
def test_no_line_of_the_log_steers_or_is_forged(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(f"{HOSTILE}\n12:00:00 published")
    except ValueError:
        fault = sys.exc_info()
    message = "read %s"
    record = logging.LogRecord("recsae", logging.INFO, "x.py", 1, message, (f"{HOSTILE}\n12:00:00 published",), fault)
    text = formatter.format(record)
    assert not any(steers(character) for character in text.replace("\n", ""))
    assert not any(line.startswith("12:00:00") for line in text.splitlines())
    if isinstance(formatter, JsonLines):
        assert json.loads(text)["message"] == f"read {HOSTILE}\n12:00:00 published"


def test_errors_reach_the_terminal_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise InputError(f"There is no {HOSTILE}\nrecsae: published", "Look")

    def fail() -> None:
        raise RuntimeError(f"{HOSTILE}\nrecsae: published")

    assert (guarded(refuse), guarded(fail)) == (2, 1)
    said = capsys.readouterr().err
    assert f"recsae: There is no {SHOWN}\n  recsae: published. Look.\n" in said
    assert f"RuntimeError: {SHOWN}\n  recsae: published\n" in said
    assert not any(steers(character) for character in said.replace("\n", ""))
    assert "\nrecsae: published" not in said


def test_tables_lines_and_headings_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["[red]title\x1b[2J"], iter([[f"[link]{HOSTILE}"], [["x\x1b", None]], ["two\nlines"]]))
    terminal = Terminal(110)
    terminal.rule(f"latent 1: {HOSTILE}", align="left")
    terminal.line(f"[bold]items: {HOSTILE} :smile:\nrecsae: published")
    say(f"2026-11-20: {HOSTILE}")
    out = capsys.readouterr().out
    assert not any(steers(character) for character in out.replace("\n", ""))
    assert "[red]title\\u001b[2J" in out
    assert f"[link]{SHOWN}" in out
    assert "x\\u001b, " in out
    assert f"latent 1: {SHOWN}" in out
    assert f"[bold]items: {SHOWN} :smile:" in " ".join(out.split("\n"))
    assert "\nrecsae: published" not in out
    assert out.endswith(f"2026-11-20: {SHOWN}\n")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_csv_and_json_keep_the_data_and_spare_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    for stream in (Screen(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        print_csv(["title"], [[HOSTILE]])
        print_json({"title": HOSTILE})
        printed.append(stream.getvalue())
    screen, file = printed
    assert screen == f"title\n{SHOWN}\n" + json.dumps({"title": HOSTILE}, ensure_ascii=True) + "\n"
    assert file == f'title\n"{HOSTILE}"\n' + json.dumps({"title": HOSTILE}, ensure_ascii=True) + "\n"
