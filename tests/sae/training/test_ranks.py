from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recsae_lib.config import SaeSettings
from recsae_lib.errors import StoppedError
from recsae_lib.platform.compute.checkpoint import CheckpointFile
from recsae_lib.sae.training import loop as training
from recsae_lib.sae.training.loop import train_saes
from recsae_lib.sae.training.one_sae import SaeChoice
from recsae_lib.sae.training.ranks import Ranks
from tests.sae.training.test_loop import planted

pytestmark = pytest.mark.integration

BATCH, DIMENSION = 100, 8
SAMPLE_ROWS = 2 * BATCH  # of the first step, whoever reads them
CHOICES = [
    SaeChoice(SaeSettings(expansion_factor=16, k=2, epochs=3, dead_after_rows=500, learning_rate=3e-3), 1),
    SaeChoice(SaeSettings(expansion_factor=4, k=3, epochs=2, variant="matryoshka"), 2),
    SaeChoice(SaeSettings(expansion_factor=4, k=2, epochs=2, initial_directions="clusters"), 3),
]
LIKE_ONE = CHOICES[:2]  # k-means sees the rows of several processes in another order, and finds other clusters


def rows_of_ranks(second: int) -> list[torch.Tensor]:
    _, x = planted(rows=1000 + second, dimension=DIMENSION, atoms=24, active=2)
    return [x[:1000], x[1000:]]


def of_one_process(shards: list[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
    """What all processes together see at each step."""
    batches = [list(shard.roll(epoch, 0).split(BATCH)) for shard in shards]
    for step in range(max(map(len, batches))):
        yield torch.cat([of_rank[step] for of_rank in batches if step < len(of_rank)])


def worker(folder: Path, second: int, stop_at: int) -> None:
    """One of two processes that train together."""
    training.SAMPLE_ROWS = SAMPLE_ROWS
    ranks = Ranks.join("cpu")
    shard = rows_of_ranks(second)[ranks.rank]
    checkpoint = CheckpointFile(folder / "checkpoint.safetensors", "identity", 3600.0)
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return ranks.rank == 1 and steps == stop_at  # the others learn of it

    def batches_of(epoch: int) -> Iterator[torch.Tensor]:
        return iter(shard.roll(epoch, 0).split(BATCH))

    given: list[float] = []
    try:
        trained = train_saes(
            batches_of, DIMENSION, CHOICES, "cpu", lambda *of: given.append(of[1].fvu), checkpoint, stop, ranks
        )
    except StoppedError:
        sys.exit(4)
    weights = {f"{n}.{name}": t for n, one in enumerate(trained) for name, t in one.sae.state_dict().items()}
    save_file(weights, folder / f"rank-{ranks.rank}.safetensors")
    reports = [[(report.fvu, report.auxk, report.l0, report.rows) for report in one.reports] for one in trained]
    (folder / f"rank-{ranks.rank}.json").write_text(json.dumps([reports, given]))


def start(folder: Path, second: int, stop_at: int) -> bool:
    """Run both processes; returns whether they came to the end."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["--module", "tests.sae.training.test_ranks", str(folder), str(second), str(stop_at)]
    ended = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0 or "exitcode  : 4" in ended.stderr, ended.stderr
    return ended.returncode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """What two processes wrote that were not stopped, by the rows of the second one; each is run once."""

    @cache
    def run(second: int) -> Path:
        folder = tmp_path_factory.mktemp("whole")
        assert start(folder, second, stop_at=0)
        return folder

    return run


@pytest.mark.parametrize("second", [1000, 730])  # rows of the second process: the last steps may find it empty
def test_two_processes_train_as_one_on_the_same_global_batches(
    second: int, whole: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAMPLE_ROWS", SAMPLE_ROWS)
    folder = whole(second)
    shards = rows_of_ranks(second)
    alone = train_saes(lambda epoch: of_one_process(shards, epoch), DIMENSION, LIKE_ONE, "cpu", lambda *_: None)
    ranks = [load_file(folder / f"rank-{rank}.safetensors") for rank in range(2)]
    assert all(torch.equal(weights, ranks[1][name]) for name, weights in ranks[0].items())
    reports, given = json.loads((folder / "rank-0.json").read_text())
    assert sorted(given) == sorted(report[0] for of_sae in reports for report in of_sae)
    assert json.loads((folder / "rank-1.json").read_text()) == [reports, []]
    for ours, expected in zip(reports[: len(LIKE_ONE)], alone, strict=True):
        for (fvu, auxk, l0, rows), report in zip(ours, expected.reports, strict=True):
            assert (fvu, auxk) == pytest.approx((report.fvu, report.auxk), rel=1e-5, abs=1e-7)
            assert (l0, rows) == (pytest.approx(report.l0, rel=1e-3), report.rows)
    assert any(report.auxk > 0 for report in alone[0].reports)


def test_one_stop_stops_all_processes_and_they_resume_exactly(whole: Callable[[int], Path], tmp_path: Path) -> None:
    assert not start(tmp_path, 730, stop_at=13)
    assert start(tmp_path, 730, stop_at=0)
    undisturbed, resumed = (load_file(folder / "rank-0.safetensors") for folder in (whole(730), tmp_path))
    assert all(torch.equal(weights, resumed[name]) for name, weights in undisturbed.items())


if __name__ == "__main__":
    worker(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
