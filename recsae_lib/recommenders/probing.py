"""Probing: what any submodule of a recommender gives for each user, read by forward hooks (METHOD.md section 1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.recommenders.protocol import Histories, Recommender

Layout = Literal["user", "sequence", "sequence_first"]
SHAPES: dict[Layout, str] = {"user": "(batch, d)", "sequence": "(batch, T, d)", "sequence_first": "(T, batch, d)"}
INSPECTED_LENGTH = 5  # interactions of each user in the batch that is looked at
NAMED_SITES = 5  # that a refusal proposes


@dataclass(frozen=True)
class Site:
    """A place in a model where a representation can be read.

    Parameters
    ----------
    name : ``last``, or the name of a submodule.
    layout : of what the submodule returns: one vector a user, or one a position, users or positions first.
    dimension : d, width of the vector.
    """

    name: str
    layout: Layout
    dimension: int


def inspect_sites(model: Recommender) -> dict[str, Site]:
    """Find the probing sites of a model: ``last``, then the submodules in the order of `named_modules`.

    One forward pass over a few made-up users, more or fewer of them than positions, shows which layout it is. A
    submodule is a site if it is called and returns a tensor of floats (or a tuple or list that begins with one) of one
    of `SHAPES`. Of one that is called several times the last call counts, here as in `probe`.
    """
    inputs = made_up_inputs(model)
    batch, length = batch_and_length(inputs)
    modules = dict(submodules(model))
    with _recording(modules) as outputs, torch.no_grad():
        x = model.represent(inputs)
    sites = {DEFAULT_SITE: Site(DEFAULT_SITE, "user", x.shape[1])}
    for name in modules:
        layout = _layout(outputs.get(name), batch, length)
        if layout is not None and name != DEFAULT_SITE:
            sites[name] = Site(name, layout, outputs[name].shape[-1])
    return sites


def find_sites(model: Recommender, names: Sequence[str]) -> tuple[Site, ...]:
    """Return the named sites of a model.

    Raises
    ------
    InputError : the model has no such site; the nearest names are given.
    """
    if set(names) == {DEFAULT_SITE}:
        return (Site(DEFAULT_SITE, "user", model.dimension),)
    sites = inspect_sites(model)
    for name in names:
        if name not in sites:
            near = difflib.get_close_matches(name, sites, n=NAMED_SITES, cutoff=0.0)
            raise InputError(
                f"The recommender has no probing site {name!r}",
                f"Set representations.sites to some of those that it has, e.g. {', '.join(near)} (`recsae sites`)",
            )
    return tuple(sites[name] for name in names)


def probe(model: Recommender, inputs: dict[str, torch.Tensor], sites: Sequence[Site]) -> dict[str, torch.Tensor]:
    """Read the representations of a batch at several sites in one forward pass.

    Of a site with a vector for each position the one of the latest interaction is taken (``inputs["last"]``). Of a
    submodule that is called several times the last call counts.

    Returns
    -------
    dict : (batch, d) float32 by the name of the site, in the order of `sites`.

    Raises
    ------
    InputError : a submodule gives something of another shape than it gave to `inspect_sites`.
    """
    modules = dict(submodules(model))
    wanted = {site.name: modules[site.name] for site in sites if site.name != DEFAULT_SITE}
    with _recording(wanted) as outputs, torch.no_grad():
        x = model.represent(inputs)
    representations = {}
    for site in sites:
        if site.name == DEFAULT_SITE:
            representations[site.name] = x
            continue
        output = outputs.get(site.name)
        if output is None or tuple(output.shape) != expected_shape(site, inputs):
            raise not_as_expected(site, inputs, output)
        representations[site.name] = at_latest(output, site.layout, inputs)
    return representations


def submodules(model: Recommender) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the submodules that can be named as sites; of a model with a `network` of somebody else, those of it."""
    network = getattr(model, "network", model)
    if isinstance(network, torch.nn.Module):
        for name, module in network.named_modules():
            if name:
                yield name, module


@contextmanager
def _recording(modules: dict[str, torch.nn.Module]) -> Iterator[dict[str, torch.Tensor]]:
    """Keep what each module returned last, if it is a tensor of floats."""
    outputs: dict[str, torch.Tensor] = {}

    def hook_of(name: str) -> Any:
        def keep(module: torch.nn.Module, arguments: Any, output: Any) -> None:
            first = floats_of(output)
            outputs.pop(name, None)
            if first is not None:
                outputs[name] = first

        return keep

    handles = [module.register_forward_hook(hook_of(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _layout(output: torch.Tensor | None, batch: int, length: int | None) -> Layout | None:
    if output is None or 0 in output.shape:
        return None
    if output.dim() == 2 and output.shape[0] == batch:
        return "user"
    if output.dim() == 3 and tuple(output.shape[:2]) == (batch, length):
        return "sequence"
    if output.dim() == 3 and tuple(output.shape[:2]) == (length, batch):
        return "sequence_first"
    return None


def floats_of(output: Any) -> torch.Tensor | None:
    """What of the output of a submodule can be read: a tensor of floats, or that with which a tuple or list begins."""
    first = output[0] if isinstance(output, tuple | list) and output else output
    readable = isinstance(first, torch.Tensor) and first.is_floating_point() and not first.is_nested
    return first if readable else None


def expected_shape(site: Site, inputs: dict[str, torch.Tensor]) -> tuple[int | None, ...]:
    """Shape of what a site gives for a batch."""
    batch, length = batch_and_length(inputs)
    first_axes = {"user": (batch,), "sequence": (batch, length), "sequence_first": (length, batch)}[site.layout]
    return (*first_axes, site.dimension)


def not_as_expected(site: Site, inputs: dict[str, torch.Tensor], output: torch.Tensor | None) -> InputError:
    """The error of a site that gives something of another shape than `expected_shape`."""
    found = "nothing" if output is None else f"the shape {tuple(output.shape)}"
    expected = f"{SHAPES[site.layout]} = {expected_shape(site, inputs)}"
    return InputError(
        f"The probing site {site.name!r} gives {found}, expected {expected}",
        "Choose a submodule that treats every batch alike (`recsae sites`)",
    )


def at_latest(output: torch.Tensor, layout: Layout, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Take the vector of each user, of positions that of the latest interaction: (batch, d) float32."""
    if layout == "user":
        return output.float()
    users = torch.arange(len(inputs["last"]), device=output.device)
    latest = output[users, inputs["last"]] if layout == "sequence" else output[inputs["last"], users]
    return latest.float()


def batch_and_length(inputs: dict[str, torch.Tensor]) -> tuple[int, int | None]:
    """Users and positions of a batch; no positions where the model reads no interactions."""
    batch = len(next(iter(inputs.values())))
    return batch, inputs["items"].shape[1] if "items" in inputs and "last" in inputs else None


def made_up_inputs(model: Recommender) -> dict[str, torch.Tensor]:
    """A batch of 3 users, or of 4 where a history has 3 positions."""

    def build(users: int) -> dict[str, torch.Tensor]:
        items = np.arange(users * INSPECTED_LENGTH) % model.item_count
        return model.build_inputs(
            Histories(np.zeros(users, dtype=np.int64), np.arange(users + 1) * INSPECTED_LENGTH, items)
        )

    inputs = build(3)
    batch, length = batch_and_length(inputs)
    return inputs if batch != length else build(4)
