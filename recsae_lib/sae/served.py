"""The code that MLflow runs to serve a registered sparse autoencoder (models from code: nothing is unpickled).

MLflow keeps this file beside the weights, and runs it where recsae may not be installed, or of another version: it
imports nothing of it. Versions that an earlier release registered import `recsae_lib.sae.store`, and need recsae.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from safetensors.torch import load_file

BLOCK_FLOATS = 2**24  # pre-activations that are held at a time
COLUMN = "representation"  # of a frame that holds vectors beside other columns


class ServedSae(PythonModel):
    """Raw (n, d) representations in; one row each with ``latent_ids`` and ``activations`` out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights that were registered beside this code."""
        folder = Path(context.artifacts["sae"])
        description = json.loads((folder / "sae.json").read_text(encoding="utf-8"))
        self.k, self.threshold = description["k"], description["threshold"]
        self.weights = load_file(folder / "weights.safetensors")

    # MLflow takes a type of model_input for the only one that may be given.
    def predict(  # type: ignore[no-untyped-def]
        self,
        context: PythonModelContext,
        model_input,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Encode representations; zeros among the k activations are left out. METHOD.md section 2 has the formula.

        Parameters
        ----------
        model_input : numbers of any type, as an array, lists, a tensor or a frame of d columns; or a frame whose only
            column, or the column ``representation``, holds vectors. One vector alone is one row.

        Raises
        ------
        MlflowException : they are not rows of d finite numbers.
        """
        W_enc, b_enc, b_dec = (self.weights[name] for name in ("W_enc", "b_enc", "b_dec"))
        centred = torch.from_numpy(rows_of(model_input, len(b_dec))) - b_dec
        latent_ids: list[list[int]] = []
        activations: list[list[float]] = []
        for block in centred.split(max(BLOCK_FLOATS // len(b_enc), 1)):
            # Sorted as a whole and stable: of equal activations those of the lowest ids are kept, as by recsae.
            ordered, ids = torch.addmm(b_enc, block, W_enc.T).sort(dim=1, descending=True, stable=True)
            values = ordered[:, : self.k]
            active = (values > 0) & (values >= self.threshold)
            latent_ids += [of_row[on].tolist() for of_row, on in zip(ids[:, : self.k], active, strict=True)]
            activations += [of_row[on].tolist() for of_row, on in zip(values, active, strict=True)]
        return pd.DataFrame({"latent_ids": latent_ids, "activations": activations})


def rows_of(given: Any, dimension: int) -> np.ndarray:
    """Return what a caller gave as (n, d) float32 rows."""
    is_frame = isinstance(given, pd.DataFrame)
    if is_frame:
        names = [COLUMN] if COLUMN in given.columns else list(given.columns)
        given = list(given[names[0]]) if len(names) == 1 and dimension > 1 else given.to_numpy()
    try:
        rows = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError):
        raise _refused(f"rows of {dimension} numbers are expected, all of that length and nothing else") from None
    if rows.shape == (0,) or (rows.shape == (dimension,) and not is_frame):
        rows = rows.reshape(-1, dimension)
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise _refused(f"rows of {dimension} numbers are expected, not an array of the shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise _refused("a representation holds NaN or an infinite number")
    return rows


def _refused(cause: str) -> MlflowException:
    return MlflowException.invalid_parameter_value(f"The sparse autoencoder cannot read these representations: {cause}")


set_model(ServedSae())
