"""The code that MLflow runs to serve a registered sparse autoencoder (models from code: nothing is unpickled)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from recsae_lib.sae.store import load_sae


class ServedSae(PythonModel):
    """Raw (n, d) float32 representations in; one row each with ``latent_ids`` and ``activations`` out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights that were registered beside this code."""
        self.sae = load_sae(Path(context.artifacts["sae"]))

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Encode representations; zeros among the k activations are left out."""
        with torch.no_grad():
            activations, latent_ids = self.sae.encode(torch.as_tensor(np.asarray(model_input, dtype=np.float32)))
        active = activations > 0
        return pd.DataFrame(
            {
                "latent_ids": [ids[on].tolist() for ids, on in zip(latent_ids, active, strict=True)],
                "activations": [values[on].tolist() for values, on in zip(activations, active, strict=True)],
            }
        )


set_model(ServedSae())
