"""Code and weights of a module of your own: only the function that the settings name is run, nothing is unpickled."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from recsae_lib.config import ModuleSettings
from recsae_lib.errors import InputError

NAMES_SHOWN = 10  # of weights that do not fit
LONGEST_FAULT = 300  # characters of what foreign code says


def build_network(settings: ModuleSettings) -> torch.nn.Module:
    """Import the factory of the settings and call it with their arguments.

    Raises
    ------
    InputError : it cannot be imported, fails, or returns no torch module.
    """
    factory = settings.factory or ""
    package, _, name = factory.partition(":")
    remedy = "Its package must be importable on driver and executors: PYTHONPATH, or spark-submit --py-files"
    with faults_of(f"{factory} cannot be imported", remedy):
        function = getattr(importlib.import_module(package), name)
    with faults_of(f"{factory} fails", "Check recommender.module.arguments"):
        network = function(**settings.arguments)
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"{factory} returns a {type(network).__name__}", "It must return a torch.nn.Module")
    return network


@contextmanager
def faults_of(what: str, remedy: str) -> Iterator[None]:
    """Run code of somebody else: what it raises becomes an InputError of one line, which says where it was raised.

    A GPU that is full is no fault of the module.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_FAULT]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_foreign(frame.filename)]
        place = f", {frames[-1].filename} line {frames[-1].lineno}" if frames else ""
        raise InputError(f"{what} ({said}{place})", remedy) from error


def _is_foreign(file: str) -> bool:
    """Whether a frame is of the module's own package, not of the suite, of torch or of Python's import system."""
    ours = (str(Path(__file__).parents[2]), str(Path(torch.__file__).parent), str(Path(importlib.__file__).parent))
    return not file.startswith((*ours, "<"))


def load_weights(network: torch.nn.Module, path: str) -> None:
    """Load a .safetensors file into a module; names of tied weights may be missing.

    Raises
    ------
    InputError : the file cannot be read or is of another kind, or names or shapes differ.
    """
    try:
        with fsspec.open(path, "rb") as file:
            weights = load(file.read())
    except OSError as error:
        raise InputError(f"The weights {path} cannot be read ({error})", "Check recommender.module.weights") from None
    except SafetensorError as error:
        raise InputError(
            f"{path} is no intact safetensors file ({error})",
            "Convert a state_dict: safetensors.torch.save_file({name: t.clone() for name, t in "
            "torch.load('model.pt', weights_only=True).items()}, 'model.safetensors')",
        ) from None
    expected = network.state_dict()
    given = {expected[name].data_ptr() for name in weights if name in expected}
    missing = [name for name, t in expected.items() if name not in weights and t.data_ptr() not in given]
    faults = [
        *(f"missing {name}" for name in missing),
        *(f"unexpected {name}" for name in weights if name not in expected),
        *(
            f"{name} of the shape {tuple(weights[name].shape)}, expected {tuple(t.shape)}"
            for name, t in expected.items()
            if name in weights and weights[name].shape != t.shape
        ),
    ]
    if faults:
        more = f" and {len(faults) - NAMES_SHOWN} more" if len(faults) > NAMES_SHOWN else ""
        raise InputError(
            f"{path} does not fit the module: {', '.join(faults[:NAMES_SHOWN])}{more}",
            "Check recommender.module.arguments, or save the state_dict of this module",
        )
    network.load_state_dict(weights, strict=False)
