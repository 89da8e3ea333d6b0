"""Ids of a server and names in a ledger that are ways to elsewhere: they are asked for nowhere, and name no file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recsae_lib.errors import InputError
from tests.openai_server import OpenaiServer
from tests.platform.llm.test_batch_transport import Night


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenaiServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OpenaiServer(seed=1, faults=0.0)
    yield server
    server.close()


@pytest.mark.parametrize("hostile", ["../chat/completions", "..", "a/b", "a?limit=1", "a%2fb", "a\nb", "\uff41"])
def test_an_id_that_is_a_way_is_asked_for_nowhere(batches: OpenaiServer, tmp_path: Path, hostile: str) -> None:
    night = Night(tmp_path, batches, range(2))
    night.submit()
    batches.batches["batch0"] |= {"status": "completed", "output_file_id": hostile}
    with pytest.raises(InputError, match="What the server calls a file of answers is "):
        night.collect()
    assert list((tmp_path / "ledger").glob("*.answers")) == []
    del batches.batches["batch0"]["output_file_id"]
    with night.ledger() as (ledger, _):
        (shard,) = ledger.shards.of_state("submitted")
        ledger.shards.attach(shard, hostile)
        with pytest.raises(InputError, match="a file or batch of "):
            ledger.shards.of_state("submitted")


def test_a_made_batch_with_a_hostile_id_is_not_recorded(batches: OpenaiServer, tmp_path: Path) -> None:
    batches._create_batch = lambda body: {"id": "../files", "object": "batch", "status": "validating"}  # type: ignore[method-assign]
    night = Night(tmp_path, batches, range(2))
    with pytest.raises(InputError, match=r"What the server calls a file or a batch is '\.\./files'"):
        night.submit()
    assert set(night.states().values()) == {"intended"}


def test_a_ledger_names_no_file_elsewhere(batches: OpenaiServer, tmp_path: Path) -> None:
    night = Night(tmp_path, batches, range(2))
    with night.ledger() as (ledger, _):
        ledger.intend("batch")
        ledger.shards.plan("../../stolen", [(night.ids[0], 1)])
        ledger._database.execute("UPDATE shards SET state = 'submitted'")
    with pytest.raises(InputError, match=r"A batch in the ledger is '\.\./\.\./stolen'"):
        night.collect()
