"""A page of four concepts whose texts try to be more than text; what the browser then shows is known."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from recsae_lib.config import PathSettings
from recsae_lib.explorer.shards import pack, pack_bytes, pack_rows
from recsae_lib.explorer.site import Site

DT = date(2026, 11, 20)
HOSTILE = {
    0: "<script>window.broken = 1</script>",
    1: '</script><img src=x onerror="window.broken = 1">',
    2: '" onclick="window.broken = 1',
    3: "dark \u2028 noir \u202e txt.exe \u0007" + "x" * 200,
}
ITEMS = {0: "Alien </script>", 1: "Heat", 2: "Psycho <b>"}
VECTORS = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], dtype="<f4")
DECODER = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], dtype="<f4")


def write_toy_site(
    folder: Path, latents: int = 4, namespace: str = "toy", dt: date = DT, reports: str | None = None
) -> Path:
    """Write the page, and its copy at `reports`; with more latents than are inlined its data lie in files."""
    ids = range(latents)
    cards = ((latent, json.dumps(card(latent))) for latent in ids)
    columns: dict[str, list[Any]] = {
        "id": [min(latent, 1) for latent in ids],  # steps: 0, 1, 1, …
        "label": [label_of(latent) for latent in ids],
        "users": [10 * latent for latent in ids],
        "state": [3 - latent if latent < 4 else 1 for latent in ids],
        "change": ["drifted" if latent == 1 else "" for latent in ids],
        "confidence": [90 - 10 * latent if latent < 4 else None for latent in ids],
        "removal_effect": [None for _ in ids],
        "found_again": [50 for _ in ids],
        "x": [latent * 7 % 400 for latent in ids],
        "y": [latent * 13 % 400 for latent in ids],
    }
    with Site(PathSettings(var=str(folder), reports=reports), namespace, dt) as site:
        manifest: dict[str, Any] = {
            "cards": pack_rows("cards", cards, site.write, raw_bytes=200_000),
            "index": pack_rows("index", [(0, json.dumps(columns))], site.write),
            "terms": directory(
                site,
                "terms",
                ["horror </script>", "heist"],
                [{"kind": "feature", "latents": [0, 2]}, {"kind": "word", "latents": [1]}],
            ),
            "items": directory(
                site,
                "items",
                list(ITEMS.values()),
                [{"item_id": str(item), "linked": [item], "up": [1], "down": [2]} for item in ITEMS],
            ),
        }
        site.write(pack_bytes("vectors/0", VECTORS.tobytes()))
        site.write(pack_bytes("decoder/0", DECODER.tobytes()))
        site.write(pack("names/0", list(ITEMS.values())))
        user = {"id": None, "x": [1.0, 0.25], "seen": [], "latest": [1], "latents": [0], "activations": [2.0]}
        site.write(pack("users", [user]))
        manifest |= {
            "users": 1000,
            "knob": {"items": 3, "width": 2, "rows": 1000, "name_rows": 1000, "users": 1},
            **{"namespace": namespace, "catalog": "recsae", "dt": dt.isoformat(), "model": "bpr_mf", "map": "PCA"},
            **{"recommender_name": "r", "model_version": 1, "sae_name": "s", "sae_version": 1, "mlflow": None},
            **{"published": "2026-11-20 05:00", "publication": 1, "tables": ["concepts"], "nights": [dt.isoformat()]},
            "limits": {"confidence": 0.8, "significance": 0.05, "removal": 0.2, "found_again": 0.7},
            "missing": {"map": None, "knob": None},
        }
        unit = {
            "kind": "SAE <b>",
            "live": latents,
            "interpretable_units": [2, 1, 3],
            "confirmed_units": [1, None, None],
        }
        overview = {
            "headline": "1 of 4 <b>live</b> latents",
            "warnings": ["k-means <i>wins</i>"],
            "unit_columns": ["units", "live"],
            "unit_rows": [["SAE", "4"]],
            "units": [unit],
            "figures": [["sae", "fvu", 0.1]],
            "titles": {"sae": "SAE"},
            "fidelity": [["FVU", "0.1", "–", "–"]],
            "coverage": [],
            "features": [{"feature": "<u>Horror</u>", "kind": "feature", "items": 3, "concepts": 1, "latents": [0]}],
            "tunings": [],
            "tuning_sentences": [],
            "changes": [],
            "nights": [{"dt": dt.isoformat(), "confirmed_units": 1}],
        }
        return site.finish(manifest, overview, latents)


def label_of(latent: int) -> str:
    return HOSTILE.get(latent, f"label {latent}")


def card(latent: int) -> dict[str, Any]:
    item = {"rank": 1, "item_id": "0", "title": ITEMS[0], "features": ["<i>Horror</i>"], "value": 1.5, "users": 3}
    return {
        "latent_id": latent,
        "label": label_of(latent),
        "description": f"About {label_of(latent)}",
        "interpreter": "terms",
        "active_users": 10,
        "density": 0.1,
        "confidence": 0.9,
        "confidence_low": 0.8,
        "confidence_high": 0.95,
        "q_value": 0.01,
        "judge": "terms",
        "mean_activation": 2.0,
        "histogram": [3] * 4 + [1] * 4 + [0] * 4 + [1] * 4,
        "terms": [{"term": "<b>heist", "kind": "word", "z_score": 3.0, "significant": True}],
        "items_linked": [item],
        "items_up": [item],
        "items_down": [item],
        "output_features": [{"feature": "<b>Horror", "output_score": 1.0, "q_value": 0.01}],
        "audience": [{"feature": "<b>Horror", "share": 0.5, "of_all": 0.2, "users": 9}],
        "cases": [{"judge": "terms", "kind": "positive", "fires": True, "judged": False, "titles": [ITEMS[0]]}],
        "near": [[1, 0.5]],
    }


def directory(site: Site, name: str, texts: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "words": pack_rows(f"{name}/words", ((at, json.dumps(text)) for at, text in enumerate(texts)), site.write),
        "rows": pack_rows(f"{name}/rows", ((at, json.dumps(row)) for at, row in enumerate(rows)), site.write),
    }
