"""Replacing: a model goes on from given vectors in place of what one of its submodules gives (METHOD.md section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from recsae_lib.config import DEFAULT_SITE
from recsae_lib.errors import InputError
from recsae_lib.recommenders.probing import (
    Site,
    at_latest,
    expected_shape,
    floats_of,
    made_up_inputs,
    not_as_expected,
    probe,
    submodules,
)
from recsae_lib.recommenders.protocol import Recommender


@torch.no_grad()
def represent_from(
    model: Recommender, inputs: dict[str, torch.Tensor], site: Site, vectors: torch.Tensor
) -> torch.Tensor:
    """Represent a batch with the vectors at a site replaced.

    Of a site with a vector for each position only the one of the latest interaction is replaced (``inputs["last"]``).
    Of a submodule that is called several times the last call counts, as in `probe`. Replaced by what `probe` reads
    there, the representation is the same to the bit.

    Parameters
    ----------
    vectors : (batch, d of the site) float32.

    Returns
    -------
    (batch, d of the model) float32; at ``last`` the vectors themselves.

    Raises
    ------
    InputError : the submodule gives something of another shape than it gave to `inspect_sites`.
    """
    if site.name == DEFAULT_SITE:
        return vectors
    module = dict(submodules(model))[site.name]
    replacement = _Replacement(site, inputs, vectors, call=1)
    x = _run(model, module, replacement)
    if replacement.calls > 1:  # how often it is called is known only when the pass is over
        replacement = _Replacement(site, inputs, vectors, call=replacement.calls)
        x = _run(model, module, replacement)
    if replacement.calls != replacement.call or not replacement.done:
        raise not_as_expected(site, inputs, replacement.found)
    return x


def require_way_on(model: Recommender, site: Site) -> None:
    """Raise InputError where nothing that a site gives comes through to the representation that items are scored from.

    The vectors of a few made-up users are moved by noise, to one side and to the other.
    """
    if site.name == DEFAULT_SITE:
        return
    inputs = made_up_inputs(model)
    vectors = probe(model, inputs, [site])[site.name]
    noise = torch.randn(vectors.shape, generator=torch.Generator().manual_seed(0)) * (1.0 + vectors.abs().mean())
    before = represent_from(model, inputs, site, vectors)
    if all(torch.equal(represent_from(model, inputs, site, vectors + step), before) for step in (noise, -noise)):
        raise InputError(
            f"What the probing site {site.name!r} gives does not come through to the scores of items: turned there, "
            "nothing changes in any list",
            "Leave tunings out (tunings: []), or the site (representations.sites)",
        )


def _run(model: Recommender, module: torch.nn.Module, replacement: _Replacement) -> torch.Tensor:
    handle = module.register_forward_hook(replacement)
    try:
        return model.represent(replacement.inputs)
    finally:
        handle.remove()


@dataclass
class _Replacement:
    """A forward hook that replaces what one call of a submodule gives.

    Parameters
    ----------
    call : number of the call, from 1.
    calls : that there were.
    found : what could be read of the last one.
    done : whether it was replaced.
    """

    site: Site
    inputs: dict[str, torch.Tensor]
    vectors: torch.Tensor
    call: int
    calls: int = 0
    found: torch.Tensor | None = None
    done: bool = False

    def __call__(self, module: torch.nn.Module, arguments: Any, output: Any) -> Any:
        self.calls += 1
        self.found = floats_of(output)
        if self.calls != self.call or self.found is None or self.found.shape != expected_shape(self.site, self.inputs):
            return None
        self.done = True
        replaced = self._replaced(self.found)
        if not isinstance(output, tuple | list):
            return replaced
        rest = [replaced, *output[1:]]
        return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)

    def _replaced(self, output: torch.Tensor) -> torch.Tensor:
        read, vectors = at_latest(output, self.site.layout, self.inputs), self.vectors.to(output.device)
        whole = output.clone()
        users, last = torch.arange(len(vectors), device=output.device), self.inputs.get("last")
        place: Any = {"user": (), "sequence": (users, last), "sequence_first": (last, users)}[self.site.layout]
        # Values that stay keep digits that float32 has not.
        whole[place] = torch.where(vectors == read, output[place], vectors.to(output.dtype))
        return whole
