from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsae_lib.errors import InputError
from recsae_lib.representations import loader as loader_module
from recsae_lib.representations.loader import RepresentationLoader

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
        monkeypatch.setattr(loader_module, "MEMORY_BYTES", 0)
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


def test_several_workers_read_every_row(folder: Path, mode: str) -> None:
    assert sorted(order(RepresentationLoader(folder, 64, seed=1, workers=3), 0)) == list(range(ROWS))


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
import recsae_lib.sae.encoding, recsae_lib.sae.evaluation, recsae_lib.sae.training
list(RepresentationLoader({str(folder)!r}, 64, seed=1).iterate(0))
assert "pyspark" not in sys.modules, "pyspark was imported"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_digest_is_that_of_the_rows_in_any_order_and_of_nothing_else(tmp_path: Path, mode: str) -> None:
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


def test_how_kept_rows_are_spread_over_files_does_not_change_their_order(tmp_path: Path) -> None:
    x = np.random.default_rng(1).standard_normal((ROWS, DIMENSION)).astype(np.float32)
    orders = []
    for number, (rows, cut) in enumerate(((x, 300), (x[::-1], 800))):
        write(tmp_path / str(number) / "part-0.parquet", rows[:cut].tolist())
        write(tmp_path / str(number) / "part-1.parquet", rows[cut:].tolist())
        orders.append(torch.cat(list(RepresentationLoader(tmp_path / str(number), 64, seed=3).iterate(2))))
    assert torch.equal(*orders)
    assert sorted(map(tuple, orders[0].tolist())) == sorted(map(tuple, x.tolist()))
