"""Downloads from a real server on this machine, well-behaved and not."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from recsae_lib.cli.main import main
from recsae_lib.datasets.public.catalogue import CATALOGUE, description_of, find_dataset
from recsae_lib.datasets.public.download import fetch_dataset
from recsae_lib.errors import InputError

FILES = {"ml-1m/ratings.dat": b"1::2::3::4\n" * 1000, "ml-1m/sub/movies.dat": b"2::A (1999)::Drama\n"}


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Served(ThreadingHTTPServer):
    """Serves `pages` by path; of those in `cut` the second half never comes."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.cut: set[str] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ml-1m.zip"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Served)
        page = self.server.pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        content = page or b""
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Served]:
    with Served() as served:
        thread = Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def fetch(server: Served, folder: Path) -> Path:
    return fetch_dataset(replace(find_dataset("ml-1m"), archive=server.address), folder)


def publish(server: Served, archive: bytes, md5: str | None = None) -> None:
    server.pages["/ml-1m.zip"] = archive
    server.pages["/ml-1m.zip.md5"] = f"{md5 or hashlib.md5(archive).hexdigest()}  ml-1m.zip\n".encode()


def test_an_archive_is_fetched_once_and_loses_its_outer_folder(server: Served, tmp_path: Path) -> None:
    publish(server, zipped(FILES))
    folder = fetch(server, tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data" / "ml-1m"
    assert (folder / "ratings.dat").read_bytes() == FILES["ml-1m/ratings.dat"]
    assert (folder / "sub" / "movies.dat").read_bytes() == FILES["ml-1m/sub/movies.dat"]
    assert list(folder.parent.iterdir()) == [folder]
    server.pages.clear()
    assert fetch(server, folder.parent) == folder


def test_an_archive_without_checksum_is_accepted_with_a_warning(
    server: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.pages["/ml-1m.zip"] = zipped({"artists.dat": b"x", "tags.dat": b"y"})
    folder = fetch(server, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["artists.dat", "tags.dat"]
    assert "No MD5 is published" in caplog.text


def damaged() -> bytes:
    archive = zipped({"ml-1m/ratings.dat": b"1::2::3::4\n" * 10}, zipfile.ZIP_STORED)
    return archive.replace(b"1::2::3::4\n", b"1::2::3::5\n", 1)


def linked() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("ml-1m/ratings.dat")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zipped({"ml-1m/a": b"x", "../escaped": b"x"}), "no name of a file"),
        (zipped({"ml-1m/../../escaped": b"x"}), "no name of a file"),
        (zipped({"/escaped": b"x"}), "no name of a file"),
        (zipped({"c:\\escaped": b"x"}), "no name of a file"),
        (zipped({"ml-1m/a\nb": b"x"}), "no name of a file"),
        (zipped({"ml-1m/.\u2024/escaped": b"x"}), "no name of a file"),
        (linked(), "is a link"),
        (zipped({"a": b"x", "b/c": b"x", "a/d": b"x"}), "cannot be unpacked"),
        (damaged(), "Bad CRC-32"),
        (b"<html>moved</html>", "not a zip file"),
        (zipped({}), "is empty"),
    ],
)
def test_a_bad_archive_is_refused_and_leaves_nothing(
    server: Served, tmp_path: Path, archive: bytes, message: str
) -> None:
    publish(server, archive)
    with pytest.raises(InputError, match=message):
        fetch(server, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    assert not list(tmp_path.parent.rglob("escaped"))


def test_a_failed_or_damaged_download_leaves_nothing(server: Served, tmp_path: Path) -> None:
    publish(server, zipped(FILES), md5="0" * 32)
    with pytest.raises(InputError, match=r"came with the MD5 [0-9a-f]{32}, expected 0{32}"):
        fetch(server, tmp_path)
    server.cut.add("/ml-1m.zip")
    with pytest.raises(InputError, match=r"could not be downloaded from http.*: \d+ of \d+ bytes came"):
        fetch(server, tmp_path)
    server.pages.clear()
    with pytest.raises(InputError, match=r"could not be downloaded from http.*: Not Found"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_cause_and_another_way_are_told(tmp_path: Path) -> None:
    with Served() as server:
        address = server.address
    with pytest.raises(InputError, match=r"Connection refused\. Check the network and the variable HTTPS_PROXY"):
        fetch_dataset(replace(find_dataset("ml-1m"), archive=address), tmp_path)


def test_what_needs_a_form_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"accept the terms on the page.*See https://business\.yelp\.com"):
        fetch_dataset(find_dataset("yelp"), tmp_path)
    with pytest.raises(InputError, match=r"no data set 'ml1m' \(the nearest is ml-1m\)"):
        find_dataset("ml1m")


def test_every_data_set_says_how_to_come_by_it() -> None:
    assert len({dataset.name for dataset in CATALOGUE}) == len(CATALOGUE)
    for dataset in CATALOGUE:
        assert (dataset.archive is None) == bool(dataset.obtain)
        assert f"dataset.format={dataset.format} " in description_of(dataset)
    assert "MovieLens 1M: 6,040 users, 3,883 items, 1,000,209 interactions" in description_of(find_dataset("ml-1m"))


def test_the_command_lists_all_and_wants_a_folder_to_fetch_into(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as listed:
        main(["datasets"])
    assert (listed.value.code, capsys.readouterr().out.count("dataset.format=")) == (0, len(CATALOGUE))
    with pytest.raises(SystemExit) as refused:
        main(["datasets", "--fetch", "ml-1m"])
    assert (refused.value.code, "Add --to FOLDER" in capsys.readouterr().err) == (2, True)
    (tmp_path / "ml-1m").mkdir()
    with pytest.raises(SystemExit) as fetched:
        main(["datasets", "--fetch", "ml-1m", "--to", str(tmp_path)])
    assert fetched.value.code == 0
    assert f"--set dataset.format=movielens_1m --set dataset.path={tmp_path}/ml-1m" in capsys.readouterr().out
