"""The code that MLflow runs to serve a registered recommender (models from code: nothing is unpickled).

MLflow keeps this file beside the weights, and runs it where recsae may not be installed, or of another version: it
imports nothing of it. So each family stands here once more, for one history and without training; METHOD.md section 1
has the equations.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from safetensors.torch import load_file
from torch.nn import functional as F

BLOCK_SCORES = 2**24  # users × items that are scored at a time
TOP_N = 10
Weights = Mapping[str, torch.Tensor]


class ServedRecommender(PythonModel):
    """A row a user in, with ``history`` (item ids, oldest first) and, of families that look users up, ``user_id``; a
    row each out, in the same order, with ``item_ids`` and ``scores`` of the best items that the history does not hold.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights and vocabularies that were registered beside this code."""
        folder = Path(context.artifacts["recommender"])
        description = json.loads((folder / "recommender.json").read_text(encoding="utf-8"))
        self.kind, self.settings = description["kind"], description["settings"]
        self.weights = load_file(folder / "weights.safetensors")
        self.items = Vocabulary(folder / "items.parquet", "item_id")
        self.looks_up = self.kind in LOOKED_UP
        self.users = Vocabulary(folder / "users.parquet", "user_id") if self.looks_up else None

    # MLflow takes a type of model_input for the only one that may be given.
    @torch.no_grad()
    def predict(  # type: ignore[no-untyped-def]
        self,
        context: PythonModelContext,
        model_input,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Recommend ``top_n`` items (a parameter) to each row; equal scores by item id. Items that the recommender does
        not know are passed over. A user whom it does not know, or who has no known item where it reads the history,
        gets an empty list.

        Raises
        ------
        MlflowException : a column is missing, a history is no list of texts, or ``top_n`` is below 1.
        """
        top_n = min(int((params or {}).get("top_n", TOP_N)), len(self.items))
        if top_n < 1:
            raise _refused("top_n is below 1")
        histories = [self._known(history) for history in _column(model_input, "history", optional=self.looks_up)]
        user_ids = _column(model_input, "user_id") if self.looks_up else [None] * len(histories)
        rows = enumerate(zip(user_ids, histories, strict=True))
        found = {place: x for place, row in rows if (x := self._representation(*row)) is not None}
        item_ids: list[list[str]] = [[] for _ in histories]
        scores: list[list[float]] = [[] for _ in histories]
        users_at_once = max(BLOCK_SCORES // len(self.items), 1)
        for begin in range(0, len(found), users_at_once):
            block = list(found)[begin : begin + users_at_once]
            scored = torch.stack([found[place] for place in block]) @ self.weights["items.weight"].T
            for place, of_user in zip(block, scored, strict=True):
                best = best_unseen(of_user, histories[place], top_n)
                item_ids[place] = [self.items.id_at(item) for item in best]
                scores[place] = of_user[best].tolist()
        return pd.DataFrame({"item_ids": item_ids, "scores": scores})

    def _known(self, history: Any) -> list[int]:
        """Indices of the items of a history that the recommender knows."""
        if history is None or isinstance(history, float):  # what pandas makes of an absent list
            return []
        if isinstance(history, str) or not all(isinstance(item, str) for item in history):
            raise _refused("a history is no list of item ids, each a text")
        return [index for item in history if (index := self.items.index_of(item)) is not None]

    def _representation(self, user_id: Any, history: list[int]) -> torch.Tensor | None:
        """Return x, (d,); None of a user who has none."""
        if self.users is not None:
            index = self.users.index_of(str(user_id))
            return None if index is None else self.weights["users.weight"][index]
        if not history:
            return None
        latest = torch.tensor(history[-self.settings["history_length"] :])
        return SEQUENTIAL[self.kind](self.weights, self.settings, latest)


class Vocabulary:
    """Ids by index, from a Parquet file. They rise by their bytes in UTF-8, so that one is found by halving."""

    def __init__(self, file: Path, column: str) -> None:
        self.ids = pq.read_table(file, columns=[column]).column(column)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> bytes:
        return self.id_at(index).encode()

    def id_at(self, index: int) -> str:
        """Id of an index."""
        return str(self.ids[index].as_py())

    def index_of(self, identifier: str) -> int | None:
        """Index of an id; None of one that is not there."""
        wanted = identifier.encode(errors="replace")
        index = bisect_left(self, wanted)
        return index if index < len(self) and self[index] == wanted else None


def best_unseen(scores: torch.Tensor, seen: Sequence[int], top_n: int) -> list[int]:
    """Indices of the `top_n` highest of (n,) scores that are not seen; equal ones by index."""
    unseen = scores.clone()
    unseen[list(seen)] = -torch.inf
    lowest = unseen.topk(top_n).values[-1]
    candidates = ((unseen >= lowest) & (unseen > -torch.inf)).nonzero().squeeze(1)
    order = unseen[candidates].sort(descending=True, stable=True).indices[:top_n]
    indices: list[int] = candidates[order].tolist()
    return indices


def sasrec(weights: Weights, settings: Mapping[str, Any], items: torch.Tensor) -> torch.Tensor:
    """x of SASRec, (d,), of (T ≤ L,) item indices, oldest first."""
    length, heads = len(items), settings["heads"]
    h = _normed(weights, "norm", weights["items.weight"][items] + weights["positions.weight"][:length])
    for number in range(settings["layers"]):
        block = f"blocks.{number}."
        q, k, v = _linear(weights, f"{block}attention_in", h).view(length, 3, heads, -1).permute(1, 2, 0, 3)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).reshape(length, -1)
        a = _normed(weights, f"{block}attention_norm", h + _linear(weights, f"{block}attention_out", attended))
        inner = F.gelu(_linear(weights, f"{block}inner", a))
        h = _normed(weights, f"{block}norm", a + _linear(weights, f"{block}outer", inner))
    return h[-1]


def timirec(weights: Weights, settings: Mapping[str, Any], items: torch.Tensor) -> torch.Tensor:
    """x of TiMiRec, (d,), of (T ≤ L,) item indices, oldest first."""
    rows = weights["items.weight"][items]
    hidden = torch.tanh(_linear(weights, "attention_in", rows + weights["positions.weight"][: len(items)]))
    interests = _linear(weights, "attention_out", hidden).softmax(0).T @ rows
    predictor = torch.nn.GRU(rows.shape[1], rows.shape[1], batch_first=True)
    predictor.load_state_dict(
        {name.removeprefix("predictor."): weight for name, weight in weights.items() if name.startswith("predictor.")}
    )
    last = predictor(rows.unsqueeze(0))[0][0, -1]
    q = (_linear(weights, "predicted", last) / settings["temperature"]).softmax(0)
    return q @ interests


LOOKED_UP = ("bpr_mf", "lightgcn")
SEQUENTIAL = {"sasrec": sasrec, "timirec": timirec}


def _linear(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    return F.linear(rows, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _normed(weights: Weights, name: str, rows: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(rows, rows.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def _column(model_input: Any, name: str, optional: bool = False) -> list[Any]:
    """Values of a column of what a caller gave: a frame, or what makes one."""
    frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
    if name in frame.columns:
        return frame[name].tolist()
    if optional:
        return [None] * len(frame)
    raise _refused(f"there is no column {name}")


def _refused(cause: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"The recommender cannot read these users: {cause}")


set_model(ServedRecommender())
