"""A trained torch module of your own as a recommender: what it must take and give, and how its rows are found."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from recsae_lib.config import ModuleSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.windows import latest_items
from recsae_lib.recommenders.foreign.network import build_network, faults_of, load_weights
from recsae_lib.recommenders.protocol import Histories

FORWARD_ARGUMENTS = ("items", "lengths", "padding_mask", "users")


class ModuleRecommender(torch.nn.Module):
    """The contract between the suite and a module of your own.

    1. The function ``recommender.module.factory`` is called as ``factory(**arguments)`` and returns a torch.nn.Module.
       It may sit in any package that driver and executors can import.
    2. Its `forward` is given, by name, whatever of these it takes:

       ===============  =====================  ==========================================================
       ``items``        (batch, T) int64       your rows of the latest T interactions, oldest first; the
                                               side ``padding`` of shorter histories holds ``padding_index``
       ``lengths``      (batch,) int64         interactions that are no padding, 1 to T
       ``padding_mask`` (batch, T) bool        True where there is padding
       ``users``        (batch,) int64         your rows of the users
       ===============  =====================  ==========================================================

       T is always ``history_length``.
    3. It returns the representation x, (batch, d) floats, or one of each position, (batch, T, d), of which that of the
       latest interaction is taken (of a tuple or list the first entry).
    4. Items are scored by ``x · E[row]``, E being the parameter or buffer ``item_embeddings`` of shape (rows, d); or by
       the method ``score(x)``, which returns (batch, rows), with ``scorer: module``.

    It is used in evaluation mode, without gradient and without torch's fused transformer kernels, which give other
    shapes and last digits than the plain ones.

    Parameters
    ----------
    network : the module.
    settings : how it is asked.
    item_rows : (item_count,) int64, your row of each item index.
    user_rows : (user_count,) int64, your row of each user index; None for a module that does not take users.
    dimension : d
    """

    kind = "module"
    architecture: tuple[str, ...] = (
        "factory",
        "arguments",
        "history_length",
        "padding",
        "padding_index",
        "scorer",
        "item_embeddings",
    )
    item_rows: torch.Tensor
    user_rows: torch.Tensor

    def __init__(
        self,
        network: torch.nn.Module,
        settings: ModuleSettings,
        item_rows: torch.Tensor,
        user_rows: torch.Tensor | None,
        dimension: int,
    ) -> None:
        super().__init__()
        self.network, self.settings, self.dimension = network, settings, dimension
        self.taken = forward_arguments(network)
        self.reads_user_index = "users" in self.taken
        self.dot_scored = settings.scorer == "dot"
        self.history_length: int | None = settings.history_length if set(self.taken) - {"users"} else None
        self.item_count = len(item_rows)
        self.size_names: tuple[str, ...] = ("item_count", "dimension")
        self.register_buffer("item_rows", item_rows)
        if self.reads_user_index:
            if user_rows is None:
                raise InputError("The module takes users", "Set recommender.module.users to your rows of them")
            self.size_names = ("item_count", "dimension", "user_count")
            self.user_count = len(user_rows)
            self.register_buffer("user_rows", user_rows)

    @classmethod
    def of(
        cls, settings: ModuleSettings, item_rows: torch.Tensor | int, user_rows: torch.Tensor | None
    ) -> ModuleRecommender:
        """Build the module that the settings name, load its weights, and try it on one user.

        Parameters
        ----------
        item_rows : your rows; or, where none are given, the number of items: they have the rows from 0 on, without that
            of the padding if the module reads items.

        Raises
        ------
        InputError : it cannot be built or does not keep to the contract.
        """
        network = build_network(settings)
        if settings.weights is not None:
            load_weights(network, settings.weights)
        if isinstance(item_rows, int):
            rows, reads = torch.arange(item_rows), set(forward_arguments(network)) - {"users"}
            item_rows = rows + (rows >= settings.padding_index) if reads else rows
        model = cls(network, settings, item_rows, user_rows, dimension=0)
        model.check_rows()
        one_user = Histories(np.zeros(1, dtype=np.int64), np.array([0, 1]), np.zeros(1, dtype=np.int64))
        x = model.represent(model.build_inputs(one_user))
        model.dimension = x.shape[1]
        model.score(x)
        return model

    @classmethod
    def from_description(
        cls, sizes: dict[str, int], settings: dict[str, Any], factory: str | None
    ) -> ModuleRecommender:
        """Build what recommender.json describes; the weights are still to be loaded.

        Raises
        ------
        InputError, ValidationError : the settings are impossible, or name another call than `factory`.
        """
        stated = ModuleSettings.model_validate(settings, strict=True)
        if stated.factory is None or stated.call != factory:
            raise InputError(
                f"The registered model names {stated.call!r}, the settings name {factory!r}: its code is not imported",
                "If you trust it, set recommender.kind to module, and recommender.module.factory and arguments to that",
            )
        network = build_network(stated)
        user_rows = torch.empty(sizes["user_count"], dtype=torch.int64) if "user_count" in sizes else None
        return cls(network, stated, torch.empty(sizes["item_count"], dtype=torch.int64), user_rows, sizes["dimension"])

    def check_rows(self) -> None:
        """Raise InputError where an item or user has no row of the module, as far as that can be known, where two items
        share one, or where an item has that of the padding.
        """
        rows = len(self._matrix()) if self.settings.item_embeddings is not None else None
        if self.item_rows.min() < 0 or (rows is not None and self.item_rows.max() >= rows):
            raise InputError(
                f"Items have the rows {int(self.item_rows.min())} to {int(self.item_rows.max())}, "
                f"{self.settings.item_embeddings} has {rows} rows",
                "Give recommender.module.items the rows of the module",
            )
        distinct = len(self.item_rows.unique())
        if distinct < self.item_count:
            raise InputError(
                f"{self.item_count:,} items share {distinct:,} rows of the module",
                "Give recommender.module.items a row for each item; leave out the items that have none",
            )
        padding = self.settings.padding_index
        if self.history_length is not None and (self.item_rows == padding).any():
            raise InputError(
                f"An item has the row {padding}, which stands for padding",
                "Give recommender.module.items the rows of the module (are they off by one?), or set "
                "recommender.module.padding_index",
            )
        if self.reads_user_index and self.user_rows.min() < 0:
            raise InputError("A user has a negative row", "Give recommender.module.users the rows of the module")

    def build_inputs(self, histories: Histories) -> dict[str, torch.Tensor]:
        """Make the arguments of the contract, and ``last`` (batch,), the position of the latest interaction.

        Raises
        ------
        InputError : a history holds no item, or a user is none that the model knows.
        """
        inputs: dict[str, torch.Tensor] = {}
        if self.history_length is not None:
            inputs.update(self._history_inputs(histories, self.history_length))
        if self.reads_user_index:
            users = histories.user_indices
            if len(users) and not 0 <= users.min() <= users.max() < self.user_count:
                raise InputError("A user is not known to the recommender", "Leave them out, or register it again")
            inputs["users"] = self.user_rows[torch.from_numpy(users).to(self.user_rows.device)]
        return inputs

    def _history_inputs(self, histories: Histories, length: int) -> dict[str, torch.Tensor]:
        items, last = latest_items(histories.items, histories.offsets, length)
        lengths = last[:, None] + 1
        places = np.arange(length) - (length - lengths if self.settings.padding == "left" else 0)
        padding = (places < 0) | (places >= lengths)
        indices = np.take_along_axis(items, np.clip(places, 0, lengths - 1), axis=1)
        rows = self.item_rows[torch.from_numpy(indices).to(self.item_rows.device)]
        mask = torch.from_numpy(padding)
        return {
            "items": rows.masked_fill(mask.to(rows.device), self.settings.padding_index),
            "lengths": torch.from_numpy(lengths[:, 0]),
            "padding_mask": mask,
            "last": torch.from_numpy(np.full_like(last, length - 1) if self.settings.padding == "left" else last),
        }

    @torch.no_grad()
    def represent(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return x, (batch, d) float32.

        Raises
        ------
        InputError : the module returns something else.
        """
        self.eval()
        given = ", ".join(f"{name} {tuple(inputs[name].shape)}" for name in self.taken)
        with _plain_transformers(), faults_of("The module's forward fails", f"Mend it; it was given {given}"):
            output = self.network(**{name: inputs[name] for name in self.taken})
        x = output[0] if isinstance(output, tuple | list) and output else output
        batch = len(next(iter(inputs.values())))
        if not isinstance(x, torch.Tensor) or not x.is_floating_point() or x.dim() not in (2, 3) or len(x) != batch:
            shape = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
            raise InputError(
                f"The module returns {shape} for {batch} users",
                "Its forward must return floats of the shape (batch, d) or (batch, T, d)",
            )
        if x.dim() == 3:
            if "last" not in inputs or x.shape[1] != inputs["items"].shape[1]:
                raise InputError(
                    f"The module returns the shape {tuple(x.shape)}, which is not (batch, T, d)",
                    "Its forward must return floats of the shape (batch, d) or (batch, T, d)",
                )
            x = x[torch.arange(batch, device=x.device), inputs["last"]]
        return x.float()

    @torch.no_grad()
    def score(self, representations: torch.Tensor) -> torch.Tensor:
        """Score every item of the vocabulary, (batch, item_count) float32.

        Raises
        ------
        InputError : the scores have not the shape (batch, rows).
        """
        if self.settings.scorer == "dot":
            matrix = self._matrix()
            if representations.shape[1] != matrix.shape[1]:
                raise InputError(
                    f"Representations have {representations.shape[1]} dimensions, "
                    f"{self.settings.item_embeddings} has {matrix.shape[1]}",
                    "Set recommender.module.scorer to module and give the module a method score",
                )
            return representations @ self.item_embeddings().T
        scorer = getattr(self.network, "score", None)
        if not callable(scorer):
            raise InputError("The module has no method score", "Give it one: (batch, d) in, (batch, rows) out")
        self.eval()
        with faults_of("The module's method score fails", f"Mend it; it was given {tuple(representations.shape)}"):
            scores = scorer(representations)
        if not isinstance(scores, torch.Tensor) or scores.dim() != 2 or len(scores) != len(representations):
            raise InputError("The module's method score gives no (batch, rows) tensor", "Mend it")
        if scores.shape[1] <= int(self.item_rows.max()):
            raise InputError(
                f"The module scores {scores.shape[1]} rows, an item has the row {int(self.item_rows.max())}",
                "Give recommender.module.items the rows of the module",
            )
        return scores.float()[:, self.item_rows]

    @torch.no_grad()
    def item_embeddings(self) -> torch.Tensor:
        """Return the vectors of the vocabulary, (item_count, d); (0, d) where no parameter is named."""
        if self.settings.item_embeddings is None:
            return torch.empty(0, self.dimension)
        first = int(self.item_rows[0])
        consecutive = torch.arange(first, first + self.item_count, device=self.item_rows.device)
        if torch.equal(self.item_rows, consecutive):  # no copy then
            return self._matrix().detach()[first : first + self.item_count].float()
        return self._matrix().detach()[self.item_rows].float()

    def _matrix(self) -> torch.Tensor:
        named = {**dict(self.network.named_buffers()), **dict(self.network.named_parameters(remove_duplicate=False))}
        name = self.settings.item_embeddings or ""
        matrix = named.get(name)
        if matrix is None or matrix.dim() != 2:
            near = difflib.get_close_matches(name, [n for n, t in named.items() if t.dim() == 2], n=5, cutoff=0.0)
            raise InputError(
                f"The module has no parameter or buffer {name!r} of the shape (rows, d)",
                f"Set recommender.module.item_embeddings, e.g. to {', '.join(near) or 'one that it has'}",
            )
        return matrix


def unregistered_module(settings: ModuleSettings) -> ModuleRecommender:
    """Build the module of the settings with a vocabulary of one item and one user: enough to look at its sites."""
    return ModuleRecommender.of(settings, 1, torch.zeros(1, dtype=torch.int64))


def forward_arguments(network: torch.nn.Module) -> tuple[str, ...]:
    """Names among `FORWARD_ARGUMENTS` that the module's forward takes.

    Raises
    ------
    InputError : it takes none of them, or needs others.
    """
    parameters = inspect.signature(network.forward).parameters.values()
    kinds = {parameter.name: parameter.kind for parameter in parameters}
    any_name = inspect.Parameter.VAR_KEYWORD in kinds.values()
    taken = tuple(name for name in FORWARD_ARGUMENTS if name in kinds or (any_name and name != "users"))
    needed = [
        p.name
        for p in parameters
        if p.default is inspect.Parameter.empty
        and p.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        and (p.name not in FORWARD_ARGUMENTS or p.kind is inspect.Parameter.POSITIONAL_ONLY)
    ]
    if needed or not taken:
        raise InputError(
            f"The module's forward takes {', '.join(kinds) or 'nothing'}",
            f"It is given by name what it takes of {', '.join(FORWARD_ARGUMENTS)}; wrap it in a module that does so",
        )
    return taken


@contextmanager
def _plain_transformers() -> Iterator[None]:
    """Switch off torch's fused encoder layers: they return nested tensors, and hooks would change their results."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
