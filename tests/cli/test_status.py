from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsae_lib.cli import main as cli
from recsae_lib.platform.job.jobs import AUDIT_JOBS
from recsae_lib.platform.job.record import book_path

NAMES = [job.name for job in AUDIT_JOBS]
FIRST, SECOND = NAMES[:2]


def line(job: str, dt: str = "2026-11-20", **values: object) -> str:
    return json.dumps({"job": job, "namespace": "shop", "dt": dt, "started_at": "2026-11-20T01:00:00+00:00", **values})


def test_status_shows_what_failed_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["status", "--set", f"paths.var={tmp_path}", "--set", "namespace=shop"]

    def status(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, *more])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    code, _, err = status()
    assert code == 2
    assert "No job has run here yet" in err
    done = [line(job, "2026-11-19", outcome="done", seconds=10.0, sae_version=3) for job in NAMES]
    path = book_path(tmp_path, "shop")
    path.parent.mkdir()
    failed = line(SECOND, outcome="bad input", cause="No [ratings] are there. Bring some.", seconds=1.0)
    path.write_text("\n".join([*done, line(FIRST, outcome="done"), failed]), encoding="utf-8")
    code, out, _ = status()
    assert code == 0
    assert out.startswith("Nights of shop, dt=2026-11-20\n")
    first, second = (row.split("│") for row in out.splitlines() if row.startswith("│ 2026"))
    assert [cell.strip() for cell in first[1:4]] == ["2026-11-20", f"bad input: {SECOND}", ""]
    assert [cell.strip() for cell in second[1:5]] == ["2026-11-19", "published", "3", f"{10 * len(NAMES)} s"]
    assert out.endswith("2026-11-20: No [ratings] are there. Bring some.\n")
    path.write_text("\n".join(done), encoding="utf-8")
    assert status()[1].startswith("Nights of shop, dt=2026-11-19, SAE version 3\n")
    path.write_text("\n".join([*done, line(FIRST, outcome="done"), failed]), encoding="utf-8")
    code, out, _ = status("--nights", "1", "--format", "json")
    assert [json.loads(text)["job"] for text in out.splitlines()] == [FIRST, SECOND]


def test_causes_and_names_steer_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = book_path(tmp_path, "shop")
    path.parent.mkdir()
    cause = "no title '\x1b[2J\u202e'\n2026-11-21: published"
    path.write_text(line(FIRST, outcome="bad input", cause=cause, seconds=1.0, code_version="\x9b31m"), "utf-8")
    shown = []
    for format_ in ("table", "json"):
        with pytest.raises(SystemExit):
            cli.main(["status", "--set", f"paths.var={tmp_path}", "--set", "namespace=shop", "--format", format_])
        shown.append(capsys.readouterr().out)
    assert all(character not in text for text in shown for character in "\x1b\x9b\u202e")
    assert shown[0].endswith("\n2026-11-20: no title '\\u001b[2J\\u202e'\\n2026-11-21: published\n")
    record = json.loads(shown[1])
    assert (record["cause"], record["code_version"]) == (cause, "\x9b31m")
