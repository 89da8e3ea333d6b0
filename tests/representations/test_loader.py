from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsae_lib.errors import InputError
from recsae_lib.representations import loader as loader_module
from recsae_lib.representations import row_groups as row_groups_module
from recsae_lib.representations.loader import RepresentationLoader
from recsae_lib.representations.row_groups import RowGroups

ROWS, DIMENSION = 1000, 5


def write(path: Path, values: list[list[float] | None], row_group_size: int = 90) -> None:
    table = pa.table(
        {
            "user_id": [f"u{row}" for row in range(len(values))],
            "representation": pa.array(values, type=pa.list_(pa.float32())),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """1,000 rows whose first number is the row: three files, one without rows, and the marks that Spark leaves."""
    folder = tmp_path / "model=my model" / "rows=training" / "dt=2026-11-20"
    x = np.arange(ROWS * DIMENSION, dtype=np.float32).reshape(ROWS, DIMENSION)
    x[:, 0] = np.arange(ROWS)
    write(folder / "part-0.snappy.parquet", x[:400].tolist())
    write(folder / "part-1.snappy.parquet", x[400:].tolist())
    write(folder / "part-2.snappy.parquet", [])
    (folder / "_SUCCESS").touch()
    (folder / ".part-0.snappy.parquet.crc").write_bytes(b"crc")
    return folder


@pytest.fixture(params=["in memory", "streamed"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "streamed":
        monkeypatch.setattr(RepresentationLoader, "fits", False)
        monkeypatch.setattr(loader_module, "SHUFFLE_BYTES", 4 * DIMENSION * 200)  # a fifth of the rows
    return request.param


def order(loader: RepresentationLoader, epoch: int) -> list[int]:
    return torch.cat(list(loader.iterate(epoch)))[:, 0].int().tolist()


def test_sizes_come_from_the_files(folder: Path) -> None:
    loader = RepresentationLoader(folder, 64, seed=1)
    assert (loader.rows, loader.dimension) == (ROWS, DIMENSION)


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(folder: Path, mode: str) -> None:
    loader = RepresentationLoader(folder, 64, seed=1)
    orders = [order(loader, epoch) for epoch in range(3)]
    for rows in orders:
        assert sorted(rows) == list(range(ROWS))
        steps = np.diff(rows)
        assert (steps == 1).mean() < 0.05  # rows that lie together in the files are parted
    assert len({tuple(rows) for rows in orders}) == 3


def test_batches_are_float32_matrices_of_the_files_values(folder: Path, mode: str) -> None:
    batches = list(RepresentationLoader(folder, 64, seed=1).iterate(1))
    assert all(batch.dtype == torch.float32 and batch.shape[1] == DIMENSION for batch in batches)
    assert [len(batch) for batch in batches] == [64] * 15 + [40]
    for row in torch.cat(batches):
        assert row[1:].tolist() == [row[0] * DIMENSION + column for column in range(1, DIMENSION)]


def test_order_follows_from_seed_and_epoch_alone(folder: Path, mode: str) -> None:
    torch.manual_seed(1)
    first = RepresentationLoader(folder, 64, seed=3)
    zero, one = order(first, 0), order(first, 1)
    torch.manual_seed(2)
    again = RepresentationLoader(str(folder), 64, seed=3)
    assert order(again, 1) == one  # without epoch 0 before it
    assert order(again, 0) == zero
    assert order(RepresentationLoader(folder, 64, seed=4), 0) != zero


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_rows_kept_on_a_gpu_come_in_the_order_of_those_in_memory(
    folder: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader_module, "DEVICE_SHARE", share)
    kept = list(RepresentationLoader(folder, 64, seed=3, device="cuda").iterate(2))
    assert {batch.device.type for batch in kept} == {"cuda" if share else "cpu"}
    expected = list(RepresentationLoader(folder, 64, seed=3).iterate(2))
    assert [batch.cpu().tolist() for batch in kept] == [batch.tolist() for batch in expected]


def test_global_random_state_is_left_alone(folder: Path, mode: str) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(RepresentationLoader(folder, 64, seed=3).iterate(0))
    assert torch.equal(torch.rand(3), expected)


def test_epoch_may_be_left_early(folder: Path, mode: str) -> None:
    loader = RepresentationLoader(folder, 64, seed=1)
    for _ in loader.iterate(0):
        break
    assert sorted(order(loader, 1)) == list(range(ROWS))


def test_small_set_is_read_once(folder: Path) -> None:
    loader = RepresentationLoader(folder, 64, seed=1)
    order(loader, 0)
    for path in folder.glob("*.parquet"):
        path.unlink()
    assert sorted(order(loader, 1)) == list(range(ROWS))


def test_workers_change_nothing(folder: Path, mode: str) -> None:
    one, many = (RepresentationLoader(folder, 64, seed=1, workers=workers) for workers in (1, 5))
    assert [order(many, epoch) for epoch in range(3)] == [order(one, epoch) for epoch in range(3)]


def test_slow_row_group_is_waited_for_and_read_in_its_turn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [len(matrix) for matrix in RowGroups(str(folder)).read()]
    reading = row_groups_module._as_matrix

    def slowly(column: pa.ChunkedArray) -> np.ndarray:
        time.sleep(0.2 if len(column) == 90 and column[0][0].as_py() in (0, 400) else 0.0)
        return reading(column)

    monkeypatch.setattr(row_groups_module, "_as_matrix", slowly)
    matrices = list(RowGroups(str(folder)).read(workers=4))
    assert [len(matrix) for matrix in matrices] == expected
    assert np.concatenate(matrices)[:, 0].tolist() == list(range(ROWS))


def test_a_set_that_just_fits_is_kept_and_a_larger_is_streamed(folder: Path) -> None:
    mib = 4 * ROWS * DIMENSION / 2**20
    for budget, fits in ((mib, True), (mib - 1e-6, False), (0, False)):
        loader = RepresentationLoader(folder, 64, seed=1, budget_mib=budget)
        assert loader.fits is fits
        order(loader, 0)
        assert (loader._kept is not None) is fits
        assert sorted(order(loader, 1)) == list(range(ROWS))


def test_reader_threads_end_with_the_epoch_and_when_it_is_left(folder: Path) -> None:
    before = set(threading.enumerate())
    loader = RepresentationLoader(folder, 2, seed=1, workers=4, budget_mib=0)
    for stop in (3, 10_000):
        for _ in islice(loader.iterate(0), stop):
            pass
        assert set(threading.enumerate()) <= before


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 40), max_size=8),
    batch=st.integers(1, 17),
    capacity=st.integers(34, 80),
    seed=st.integers(0, 9),
)
def test_shuffle_buffer_gives_every_row_once_in_whole_batches(
    sizes: list[int], batch: int, capacity: int, seed: int
) -> None:
    buffer = loader_module._ShuffleBuffer(capacity, 1, batch, np.random.default_rng(seed))
    rows = np.arange(sum(sizes), dtype=np.float32)[:, None]
    given_rows = np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []
    batches = [drawn for matrix in given_rows for drawn in buffer.add(matrix)] + list(buffer.rest())
    assert all(len(drawn) == batch for drawn in batches[:-1])
    assert sorted(np.concatenate([*batches, rows[:0]])[:, 0].tolist()) == rows[:, 0].tolist()


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shards=st.integers(1, 12), budget=st.sampled_from([0, 1]))
def test_shards_part_the_rows_among_them_in_every_epoch_alike(folder: Path, shards: int, budget: int) -> None:
    loaders = [RepresentationLoader(folder, 64, 1, shard=(rank, shards), budget_mib=budget) for rank in range(shards)]
    for loader in loaders:
        assert loader.total_rows == ROWS
        assert loader.shard_rows == tuple(other.rows for other in loaders)
    epochs = [[order(loader, epoch) for loader in loaders] for epoch in range(2)]
    for parts in epochs:
        assert [len(part) for part in parts] == [loader.rows for loader in loaders]
        assert sorted(row for part in parts for row in part) == list(range(ROWS))
    assert [set(part) for part in epochs[0]] == [set(part) for part in epochs[1]]
    assert [order(loader, 1) for loader in loaders] == epochs[1]
    assert {loader.digest() for loader in loaders} == {RepresentationLoader(folder, 64, seed=2).digest()}


def test_more_processes_than_row_groups_are_refused_with_advice(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"12 row groups, too few for 13 training processes\. Start 12 processes"
    ) as no:
        RepresentationLoader(folder, 64, seed=1, shard=(0, 13))
    assert "representations.minimum_row_groups to 13" in str(no.value)


def test_default_reader_threads_are_no_more_than_are_useful(folder: Path) -> None:
    assert RepresentationLoader(folder, 64, seed=1).workers == 2
    loader = RepresentationLoader(folder, 64, seed=1, shard=(11, 12))
    assert loader.workers == 1
    assert len(order(loader, 0)) == loader.rows == 60


def test_more_readers_than_row_groups_are_refused_with_advice(folder: Path) -> None:
    RepresentationLoader(folder, 64, seed=1, workers=12)
    with pytest.raises(InputError, match=r"12 row groups .* 13 reader threads\. Set sae\.loader_workers to 12 at most"):
        RepresentationLoader(folder, 64, seed=1, workers=13)
    with pytest.raises(InputError, match=r"2 row groups for this .*\.minimum_row_groups to 15 or more"):
        RepresentationLoader(folder, 64, seed=1, workers=3, shard=(4, 5))


@pytest.mark.parametrize("budget_mib", [0, 1])
def test_set_that_changed_since_its_footers_were_read_is_refused(folder: Path, budget_mib: int) -> None:
    loader = RepresentationLoader(folder, 64, seed=1, budget_mib=budget_mib)
    write(folder / "part-1.snappy.parquet", [[0.0] * DIMENSION] * 500)
    with pytest.raises(InputError, match="changed while they were read"):
        list(loader.iterate(0))


def test_url_of_a_folder_is_taken_as_it_is(folder: Path) -> None:
    assert RepresentationLoader(f"file://{folder}", 64, seed=1).rows == ROWS


def test_relative_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert len(order(RepresentationLoader("dt=2026-11-20", 64, seed=1), 0)) == ROWS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], "vectors of 2 floats"),
        ([[1.0, 2.0], None, [1.0, 2.0]], "vectors of 2 floats"),
        ([[1.0, 2.0]] * 4 + [[1.0, 2.0, 3.0]] * 4, "2 floats|2 float32"),  # each row group is even in itself
        ([[]], "first representation is empty"),
        ([None, [1.0]], "first representation is empty"),
        ([], "no rows"),
    ],
)
def test_columns_that_are_no_matrix_are_refused(
    tmp_path: Path, mode: str, values: list[list[float] | None], message: str
) -> None:
    write(tmp_path / "part-0.parquet", values, row_group_size=4)
    with pytest.raises(InputError, match=message):
        list(RepresentationLoader(tmp_path, 2, seed=1).iterate(0))


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="no rows"):
            RepresentationLoader(folder, 64, seed=1)


def test_damaged_footer_is_refused_with_the_name_of_its_file(folder: Path) -> None:
    damaged = folder / "part-1.snappy.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"part-1\.snappy\.parquet is no intact Parquet file"):
        RepresentationLoader(folder, 64, seed=1)


def test_damaged_pages_are_refused(folder: Path, mode: str) -> None:
    damaged = folder / "part-1.snappy.parquet"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 4 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 4)
    damaged.write_bytes(content)
    with pytest.raises(InputError, match="row group cannot be read"):
        list(RepresentationLoader(folder, 64, seed=1).iterate(0))


@pytest.mark.parametrize(
    "column", [pa.array([[1.0]], pa.list_(pa.float64())), pa.array([1.0], pa.float32()), pa.array(["x"])]
)
def test_column_of_another_type_is_refused(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"representation": column}), tmp_path / "part-0.parquet")
    with pytest.raises(InputError, match="no column representation of type list<float>"):
        RepresentationLoader(tmp_path, 64, seed=1)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_a_pickled_schema_in_the_folder_is_never_loaded(folder: Path, mode: str) -> None:
    key = b"dataset-toolkit.unischema.v1"
    schema = pq.read_schema(folder / "part-0.snappy.parquet").with_metadata({key: pickle.dumps(Bomb())})
    pq.write_metadata(schema, folder / "_common_metadata")
    pq.write_table(schema.empty_table(), folder / "part-9.parquet")
    assert len(order(RepresentationLoader(folder, 64, seed=1), 0)) == ROWS


def test_loader_and_sae_do_without_spark_and_warn_of_nothing(folder: Path) -> None:
    program = f"""
import sys
from recsae_lib.representations.loader import RepresentationLoader
import recsae_lib.sae.encoding, recsae_lib.sae.evaluation, recsae_lib.sae.training.loop
list(RepresentationLoader({str(folder)!r}, 64, seed=1).iterate(0))
assert "pyspark" not in sys.modules, "pyspark was imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_digest_depends_on_the_rows_but_not_on_their_order(tmp_path: Path, mode: str) -> None:
    x = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    swapped = x.copy()
    swapped[[3, 700], 2] = swapped[[700, 3], 2]  # a sum over rows or columns alone would not see it
    digests = []
    for number, rows in enumerate((x, x[::-1], swapped, x[:-1], np.concatenate([x, x[:1]]))):
        write(tmp_path / str(number) / "part-0.parquet", rows[:300].tolist())
        write(tmp_path / str(number) / "part-1.parquet", rows[300:].tolist())
        digests.append(RepresentationLoader(tmp_path / str(number), 64, seed=number).digest())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_file_layout_does_not_change_the_order_of_kept_rows(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    orders = []
    for number, (rows, cut) in enumerate(((x, 300), (x[::-1], 800))):
        write(tmp_path / str(number) / "part-0.parquet", rows[:cut].tolist())
        write(tmp_path / str(number) / "part-1.parquet", rows[cut:].tolist())
        orders.append(torch.cat(list(RepresentationLoader(tmp_path / str(number), 64, seed=3).iterate(2))))
    assert torch.equal(*orders)
    assert sorted(map(tuple, orders[0].tolist())) == sorted(map(tuple, x.tolist()))


@pytest.mark.parametrize(("rows", "expected"), [(50, 64), (9_000, 90), (150_000, 1024)])
def test_a_batch_is_a_hundredth_of_the_rows_unless_given(rows: int, expected: int, tmp_path: Path) -> None:
    write(tmp_path / "part-0.parquet", [[float(row)] for row in range(rows)], row_group_size=rows)
    loader = RepresentationLoader(tmp_path, None, seed=1)
    assert loader.batch_size == expected
    assert len(next(loader.iterate(1))) == min(expected, rows)
    assert RepresentationLoader(tmp_path, 7, seed=1).batch_size == 7


def test_a_training_logs_where_its_rows_come_from(folder: Path) -> None:
    loader = RepresentationLoader(folder, None, seed=3)
    assert loader.parameters() == {
        "batch_size": 64,
        "dimension": 5,
        "data_folder": str(folder),
        "data_rows": 1000,
        "data_digest": loader.digest(),
    }
