"""The files of the page: written beside the old ones, which stay whole until the new ones are."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Collection, Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2

from recsae_lib.config import PathSettings
from recsae_lib.explorer.shards import Shard, pack
from recsae_lib.platform.storage.files import UNFINISHED, write_whole
from recsae_lib.platform.storage.reports import REPORTS, copies, reports_folder

FOLDER, PAGE, DATA = "explorer", "index.html", "data-"
# Up to so many latents, and so many bytes, everything is in one file, which can be sent to somebody.
LATENTS_OF_ONE_FILE, BYTES_OF_ONE_FILE = 2_000, 8 * 2**20
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Site:
    """The page of one audit while it is written: shards go to a hidden folder, which gets a name by its content once it
    is whole.
    """

    def __init__(self, paths: PathSettings, namespace: str, dt: date) -> None:
        self._paths, self._namespace, self._dt = paths, namespace, dt
        self.folder = reports_folder(paths, namespace, dt) / FOLDER
        self._unfinished = self.folder / f".{DATA}{UNFINISHED}"
        self._copies = copies(paths)
        self._digest = hashlib.sha256()
        self._names: list[str] = []
        self._size = 0

    def __enter__(self) -> Site:
        shutil.rmtree(self._unfinished, ignore_errors=True)  # of a killed run; the night is held by this one
        self._unfinished.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def write(self, shard: Shard) -> None:
        """Write a shard."""
        content = shard.script()
        file = self._unfinished / f"{shard.name}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self._digest.update(content)
        self._names.append(shard.name)
        self._size += len(content)

    def finish(self, manifest: dict[str, Any], overview: dict[str, Any], latents: int) -> Path:
        """Put the shards where the page reads them, then the page in place of the old one; returns the page."""
        title = f"{self._namespace}, {self._dt.isoformat()}"
        if latents <= LATENTS_OF_ONE_FILE and self._size <= BYTES_OF_ONE_FILE:
            inline = [_read(self._unfinished / f"{name}.js", name) for name in self._names]
            return self._put(title, {**manifest, "folder": None}, overview, inline, None)
        data = self.folder / f"{DATA}{self._digest.hexdigest()[:16]}"
        if not data.exists():  # else the page that stands there reads the same content from it at this moment
            self._unfinished.rename(data)
        for name in self._names:
            self._copy(f"{data.name}/{name}.js")
        return self._put(title, {**manifest, "folder": data.name}, overview, [], data)

    def _put(
        self, title: str, manifest: dict[str, Any], overview: dict[str, Any], inline: Sequence[Shard], data: Path | None
    ) -> Path:
        first = pack("overview", {"manifest": manifest, "overview": overview})
        page = self.folder / PAGE
        write_whole(page, render(title, [first, *inline]))
        self._copy(PAGE)
        for old in self.folder.glob(f"{DATA}*"):
            if old != data:
                shutil.rmtree(old, ignore_errors=True)
        if self._copies is not None:
            for name in self._copies.names(self._address):
                if not (self.folder / name.removeprefix(f"{self._address}/")).exists():
                    self._copies.delete(name)
        return page

    @property
    def _address(self) -> str:
        """Folder of the page within the reports."""
        return f"{self._namespace}/{self._dt.isoformat()}/{FOLDER}"

    def _copy(self, name: str) -> None:
        if self._copies is not None:
            self._copies.upload(self.folder / name, f"{self._address}/{name}")


def render(title: str, inline: Sequence[Shard]) -> bytes:
    """Fill the page. Its policy admits its own script and style by their hashes, and the scripts that this one loads.

    Parameters
    ----------
    inline : shards that stand in the page itself; the first one is what it starts with.
    """
    folder = files(__package__) / "page"
    style = (folder / "style.css").read_text(encoding="utf-8")
    parts = sorted((part for part in folder.iterdir() if part.name.endswith(".js")), key=lambda part: part.name)
    body = "".join(part.read_text(encoding="utf-8") for part in parts)
    script = f'"use strict";(() => {{\n{body}}})();'
    policy = (
        f"default-src 'none'; script-src '{_source(script)}' 'strict-dynamic'; style-src '{_source(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    shell = jinja2.Environment(autoescape=True).from_string((folder / "shell.html.jinja").read_text(encoding="utf-8"))
    return shell.render(title=title, policy=policy, style=style, script=script, inline=inline).encode()


def write_list_of_pages(paths: PathSettings) -> Path:
    """Write ``reports/index.html``, which links to the pages of all namespaces and nights that lie there."""
    root = Path(paths.var) / REPORTS
    namespaces = {
        folder.name: dates
        for folder in sorted(root.iterdir())
        if folder.is_dir() and (dates := pages_of(paths, folder.name))
    }
    folder = files(__package__) / "page"
    style = (folder / "style.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src '{_source(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    listing = jinja2.Environment(autoescape=True).from_string((folder / "list.html.jinja").read_text(encoding="utf-8"))
    write_whole(root / PAGE, listing.render(style=style, policy=policy, namespaces=namespaces).encode())
    if (store := copies(paths)) is not None:
        store.upload(root / PAGE, PAGE)
    return root / PAGE


def page_of(paths: PathSettings, namespace: str, dt: date) -> Path:
    """Where the page of an audit lies."""
    return (reports_folder(paths, namespace, dt) / FOLDER / PAGE).resolve()


def pages_of(paths: PathSettings, namespace: str) -> list[str]:
    """Dates of a namespace whose page lies in the reports, newest first."""
    found = (Path(paths.var) / REPORTS / namespace).glob(f"*/{FOLDER}/{PAGE}")
    return sorted((dt for page in found if _DATE.fullmatch(dt := page.parent.parent.name)), reverse=True)


def remove_pages(paths: PathSettings, namespace: str, dates: Collection[str]) -> None:
    """Remove the pages of some dates of a namespace, and their copies at `paths.reports`."""
    for dt in dates:
        shutil.rmtree(Path(paths.var) / REPORTS / namespace / dt / FOLDER, ignore_errors=True)
    if dates and (store := copies(paths)) is not None:
        for name in store.names(namespace):
            _, *place = name.split("/")
            if place[1:2] == [FOLDER] and place[0] in dates:
                store.delete(name)


def _read(file: Path, name: str) -> Shard:
    return Shard(name, file.read_text(encoding="ascii").split('"')[3])


def _source(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
