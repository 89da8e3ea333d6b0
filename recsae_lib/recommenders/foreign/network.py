"""Code and weights of a module of your own: only the function that the settings name is run, nothing is unpickled."""

from __future__ import annotations

import importlib

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from recsae_lib.config import ModuleSettings
from recsae_lib.errors import InputError

NAMES_SHOWN = 10  # of weights that do not fit


def build_network(settings: ModuleSettings) -> torch.nn.Module:
    """Import the factory of the settings and call it with their arguments.

    Raises
    ------
    InputError : it cannot be imported, fails, or returns no torch module.
    """
    factory = settings.factory or ""
    package, _, name = factory.partition(":")
    try:
        function = getattr(importlib.import_module(package), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{factory} cannot be imported ({error})",
            "Its package must be importable on driver and executors: PYTHONPATH, or spark-submit --py-files",
        ) from error
    try:
        network = function(**settings.arguments)
    except Exception as error:  # it is somebody else's code
        raise InputError(
            f"{factory} fails ({type(error).__name__}: {error})", "Check recommender.module.arguments"
        ) from error
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"{factory} returns a {type(network).__name__}", "It must return a torch.nn.Module")
    return network


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
