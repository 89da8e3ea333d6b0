"""Build the page of one published audit from its tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
from pyspark.sql import DataFrame

from recsae_lib.errors import InputError
from recsae_lib.explorer.cards import Read, cards
from recsae_lib.explorer.directory import item_directory, term_directory
from recsae_lib.explorer.knob import why_no_knob, write_knob
from recsae_lib.explorer.layout import map_of, nearest, unit_rows_of
from recsae_lib.explorer.overview import index_columns, nights, overview, users_of
from recsae_lib.explorer.shards import Shard, pack_rows
from recsae_lib.explorer.site import Site, pages_of, remove_pages, write_list_of_pages
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import Publication, last_of_each_date, publications
from recsae_lib.platform.warehouse.read_point import read_point, read_point_of
from recsae_lib.platform.warehouse.tables import Table
from recsae_lib.redaction import redacted
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import load_sae

LATENTS_OF_INDEX = 8192  # of a shard of the index


def build_explorer(context: JobContext) -> Path:
    """Write the page of the audit of a date, and the list of all pages; returns the page.

    Pages of nights that the tables no longer hold go.

    Raises
    ------
    InputError : no audit of the date is published.
    """
    found = publications(context.warehouse)
    publication = last_of_each_date(found).get(context.dt)
    if publication is None:
        raise InputError(
            f"No audit of {context.namespaces['audit']} is published for dt={context.dt}",
            "Run `recsae audit` for it, or name the date of a published one: `recsae status` lists them",
        )
    context = _of_publication(context, publication)
    warehouse, point, now = context.warehouse, read_point_of(found, context.dt), read_point(found)

    def read(table: Table) -> DataFrame:
        return point.read(warehouse, table)

    settings, namespace = context.settings, context.namespaces["audit"]
    sae, missing = _sae(context)
    decoder = None if sae is None else sae.W_dec.detach().cpu().numpy()
    with Site(settings.paths, namespace, context.dt) as site:
        live, described = write_concepts(
            read, decoder, settings.evidence.linked_items, settings.explorer.show_users, settings.seed, site.write
        )
        why_not = missing or why_no_knob(context)
        knob = None
        if sae is not None and why_not is None:
            knob = write_knob(context, sae, live, settings.explorer.show_users, site.write)
        manifest = {
            **_audited(context, publication),
            **described,
            "knob": knob,
            "missing": {"map": missing, "knob": why_not},
            "nights": sorted({*pages_of(settings.paths, namespace), context.dt.isoformat()}, reverse=True),
        }
        metrics, drift = (now.read(warehouse, table) for table in (tables.AUDIT_METRICS, tables.CONCEPT_DRIFT))
        summary = overview(read) | {"nights": nights(metrics, drift, now.dates)}
        page = site.finish(manifest, summary, len(live))
    remove_pages(settings.paths, namespace, [gone.dt.isoformat() for gone in found if gone.dt not in now.dates])
    write_list_of_pages(settings.paths)
    return page


def write_concepts(
    read: Read,
    decoder: np.ndarray | None,
    linked_items: str,
    show_users: bool,
    seed: int,
    write: Callable[[Shard], None],
) -> tuple[np.ndarray, dict[str, Any]]:
    """Write what the page says of each concept, and what is searched.

    Parameters
    ----------
    read : gives the rows of a table that the audit published.
    decoder : (M, d) W_dec; None where it is not kept any more.
    linked_items, show_users : as of `cards`.
    seed : of the map.
    write : takes each shard.

    Returns
    -------
    The live latents, rising, and what the page needs to read the shards.
    """
    columns = index_columns(read(tables.CONCEPTS), read(tables.CONCEPT_DRIFT))
    live = np.array(columns["id"], dtype=np.int64)
    near = how = None
    if decoder is not None and len(live):
        rows = unit_rows_of(decoder[live])
        how, positions = map_of(rows, seed)
        columns["x"], columns["y"] = positions[:, 0].tolist(), positions[:, 1].tolist()
        near = nearest(rows)
    found = cards(read, linked_items, show_users)
    # One partition of the cards at a time comes to the driver.
    texts = ((row["latent_id"], row["card"]) for row in found.toLocalIterator())
    described: dict[str, Any] = {
        "map": how,
        "users": users_of(read(tables.CONCEPTS)),
        "index": pack_rows("index", _blocks(columns), write, raw_bytes=1),
        "cards": pack_rows("cards", texts if near is None else _with_near(texts, live, *near), write),
    }
    directories = {
        "terms": term_directory(read(tables.CONCEPT_TERMS)),
        "items": item_directory(read(tables.LATENT_ITEMS), read(tables.LATENT_EFFECTS), read(tables.ITEMS)),
    }
    for name, entries in directories.items():
        listed = [(row["text"], row["row"]) for row in entries.toLocalIterator()]  # `MOST_ENTRIES` at most
        words = ((place, json.dumps(text, ensure_ascii=False)) for place, (text, _) in enumerate(listed))
        described[name] = {
            "words": pack_rows(f"{name}/words", words, write),
            "rows": pack_rows(f"{name}/rows", ((place, row) for place, (_, row) in enumerate(listed)), write),
        }
    return live, described


def _of_publication(context: JobContext, publication: Publication) -> JobContext:
    """The context with the versions that the audit was of."""
    settings = context.settings
    versions = {"recommender": publication.model_version, "sae": publication.sae_version}
    pinned = {name: getattr(settings, name).model_copy(update={"version": one}) for name, one in versions.items()}
    return context.with_settings(settings.model_copy(update=pinned))


def _sae(context: JobContext) -> tuple[SparseAutoencoder | None, str | None]:
    """The SAE of the audit; None, and why, where the registry has it no more."""
    try:
        return load_sae(context.registry.fetch(context.sae_name, context.sae_version)), None
    except InputError as error:
        return None, redacted(f"the SAE of this audit is not in the registry ({error})")


def _with_near(
    rows: Iterator[tuple[int, str]], live: np.ndarray, places: np.ndarray, cosines: np.ndarray
) -> Iterator[tuple[int, str]]:
    """Add its nearest latents, with their cosines, to each card; cards and `live` are of the same latents, rising."""
    for (latent, card), near, cosine in zip(rows, live[places], cosines, strict=True):
        pairs = [[int(other), round(float(one), 3)] for other, one in zip(near, cosine, strict=True)]
        yield latent, f'{card[:-1]},"near":{json.dumps(pairs)}}}'


def _blocks(columns: dict[str, list[Any]]) -> Iterator[tuple[int, str]]:
    """Cut the columns of the index into shards; ids are steps from the one before, which compress to nearly nothing."""
    for start in range(0, len(columns["id"]), LATENTS_OF_INDEX):
        block = {name: values[start : start + LATENTS_OF_INDEX] for name, values in columns.items()}
        block["id"] = np.diff(block["id"], prepend=0).tolist()
        yield start, json.dumps(block, ensure_ascii=False, separators=(",", ":"))


def _audited(context: JobContext, publication: Publication) -> dict[str, Any]:
    """What the page says of where the audit comes from, and the limits that its verdicts are held against."""
    settings, checked = context.settings, context.settings.verification
    return {
        "namespace": context.namespaces["audit"],
        "catalog": settings.catalog,
        "dt": context.dt.isoformat(),
        "model": settings.recommender.kind,
        "recommender_name": context.recommender_name,
        "model_version": publication.model_version,
        "sae_name": context.sae_name,
        "sae_version": publication.sae_version,
        "published": publication.finished_at.strftime("%Y-%m-%d %H:%M"),
        "publication": publication.number,
        "tables": sorted(publication.snapshots),
        "mlflow": _address(settings.paths.tracking_uri, context.sae_name, publication.sae_version),
        "limits": {
            "confidence": checked.confidence,
            "significance": checked.significance,
            "removal": checked.minimum_removal,
            "found_again": checked.minimum_found_again,
        },
    }


def _address(tracking_uri: str, name: str, version: int) -> str | None:
    """Where a browser finds an SAE version in MLflow, without what a login may stand in the address."""
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        return None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", f"/models/{name}/versions/{version}"))
