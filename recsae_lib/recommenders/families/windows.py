"""Training of sequential families: windows of the histories, whose last positions each predict the next item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch.nn import functional as F

from recsae_lib.config import SasrecSettings, TimirecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.negatives import Negatives, bpr_loss
from recsae_lib.recommenders.training_histories import TrainingHistories

MOST_SCORES = 2**31  # of a batch in the cross entropy: 8 GiB, and as much again for the gradient


@dataclass(frozen=True)
class Candidates:
    """Items that stand for the catalogue: half drawn as often as they occur in the training part, half all alike.

    ::

        e_c = S (count_c / (2 N) + 1 / (2 n))       how often c is expected among the S candidates

    Scores are highest for few, mostly frequent items; drawn all alike, such items would hardly ever be among them.

    Parameters
    ----------
    train : training part of the histories: N interactions with n items.
    size : S
    """

    train: TrainingHistories
    size: int

    @cached_property
    def _expected(self) -> np.ndarray:
        shares = np.bincount(self.train.items, minlength=self.train.item_count) / len(self.train.items)
        return (self.size * (shares + 1 / self.train.item_count) / 2).astype(np.float32)

    def draw(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidates, (S,) int64, and e of each, (S,) float32."""
        frequent = self.train.items[random.integers(0, len(self.train.items), self.size // 2)]
        others = random.integers(0, self.train.item_count, self.size - self.size // 2)
        drawn = np.concatenate([frequent.astype(np.int64), others])
        return drawn, self._expected[drawn]


@dataclass(frozen=True)
class Windows:
    """The training part as windows: each predicts a run of interactions, and reads up to L before the last of them.

    A user's latest L interactions are read when they are represented, so training should predict from as many. One
    window for each prediction would do it exactly, and cost L times as much as one for L predictions: a run of a few is
    both near enough and cheap. Runs are cut anew in every epoch.

    Parameters
    ----------
    train : training part of the histories.
    longest : L, interactions that the model reads.
    predicted : interactions that a window predicts at most.
    batch_size : windows a step.
    negatives : draws one negative for each predicted interaction; None but for loss bpr.
    candidates : draws items for all predictions of a batch together; None but for loss sampled_softmax.
    """

    train: TrainingHistories
    longest: int
    predicted: int
    batch_size: int
    negatives: Negatives | None = None
    candidates: Candidates | None = None

    @classmethod
    def of(cls, train: TrainingHistories, settings: SasrecSettings | TimirecSettings, family: str) -> Windows:
        """Check that there is something to train on, and that a batch fits into memory.

        Parameters
        ----------
        settings : of the family; history_length, predicted, batch_size, loss and candidates are read.
        family : its name, for messages.

        Raises
        ------
        InputError : no user has two training interactions, or the scores of a batch would take more than `MOST_SCORES`.
        """
        if len(train) == 0 or train.lengths.max() < 2:
            raise InputError(
                "There is nothing to train on: no user has two interactions besides the dev and test item",
                "Ingest longer histories, or set recommender.kind to bpr_mf",
            )
        predicted = min(settings.predicted, settings.history_length)
        windows = cls(train, settings.history_length, predicted, settings.batch_size)
        match settings.loss:
            case "bpr":
                return replace(windows, negatives=Negatives(train))
            case "sampled_softmax" if settings.candidates < train.item_count:
                return replace(windows, candidates=Candidates(train, settings.candidates))
        scores = settings.batch_size * predicted * train.item_count
        if scores > MOST_SCORES:
            raise InputError(
                f"The cross entropy of a batch over {train.item_count:,} items takes {4 * scores / 2**30:.0f} GiB",
                f"Set recommender.{family}.loss to sampled_softmax, or a smaller recommender.{family}.batch_size",
            )
        return windows

    def batches(self, random: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the windows in random order: ``items`` read, whether a position is one that ``predicts``, and the
        ``targets`` (and ``negatives``) of those; and the ``candidates`` of the batch, how often each is ``expected``.
        """
        users, starts, lengths = cut_runs(self.train, self.predicted, random)
        order = random.permutation(len(starts))
        for begin in range(0, len(order), self.batch_size):
            taken = order[begin : begin + self.batch_size]
            ends = starts[taken] + lengths[taken]  # the last target
            firsts = np.maximum(self.train.offsets[users[taken]], ends - self.longest)
            window = padded(self.train.items, firsts, ends - firsts + 1)
            position = firsts[:, None] + np.arange(window.shape[1] - 1)
            predicts = (position >= starts[taken, None]) & (position < ends[:, None])
            batch = {"items": window[:, :-1], "predicts": predicts, "targets": window[:, 1:][predicts]}
            if self.negatives is not None:
                batch["negatives"] = self.negatives.draw(np.repeat(users[taken], lengths[taken]), random)
            if self.candidates is not None:
                batch["candidates"], batch["expected"] = self.candidates.draw(random)
            yield {name: torch.from_numpy(values) for name, values in batch.items()}


def next_item_loss(x: torch.Tensor, batch: dict[str, torch.Tensor], items: torch.nn.Embedding) -> torch.Tensor:
    """Mean loss of predicting the targets of a batch (`Windows.batches`) from x.

    ::

        cross entropy   :  −ln softmax(E x)[target]
        sampled softmax :  −ln e^{x·E[target]} / (e^{x·E[target]} + Σ_c e^{x·E[c]} / e_c)
                           where the batch has candidates; c runs over those that are not the target
        BPR             :  −ln σ(x · E[target] − x · E[negative])          where the batch has negatives

    The sampled softmax is the cross entropy with its sum over the catalogue estimated, without bias, from few items.

    Parameters
    ----------
    x : (predictions, d)
    items : E, (n, d)
    """
    targets = batch["targets"]
    if "negatives" in batch:
        return bpr_loss((x * items(targets)).sum(1), (x * items(batch["negatives"])).sum(1))
    if "candidates" not in batch:
        return F.cross_entropy(x @ items.weight.T, targets)
    candidates = batch["candidates"]
    scores = x @ items(candidates).T - batch["expected"].log()
    rest = scores.masked_fill(candidates == targets.unsqueeze(1), -torch.inf).logsumexp(1)
    return F.softplus(rest - (x * items(targets)).sum(1)).mean()


def cut_runs(
    train: TrainingHistories, longest: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the predicted interactions of each user (all but the first) into runs of `longest`, from a random phase on.

    Every interaction is predicted once; where the first run ends, 1 to `longest` interactions on, is drawn for each
    user.

    Returns
    -------
    (users, starts, lengths) : (runs,) each. A run of length n predicts ``items[start + 1:start + n + 1]``.
    """
    users = np.flatnonzero(train.lengths >= 2)
    predicted = train.lengths[users] - 1
    phases = random.integers(0, longest, len(users))
    counts = -(-(predicted + phases) // longest)
    numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    users, predicted, phases = (np.repeat(values, counts) for values in (users, predicted, phases))
    begins = np.maximum(numbers * longest - phases, 0)
    ends = np.minimum((numbers + 1) * longest - phases, predicted)
    return users, train.offsets[users] + begins, ends - begins


def latest_items(histories_items: np.ndarray, offsets: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Take the latest `longest` items of each user, oldest first.

    Returns
    -------
    (items, last) : (batch, T ≤ longest) int64, and (batch,) the position of the latest one; what follows is padding.

    Raises
    ------
    InputError : a history holds no item.
    """
    lengths = np.minimum(np.diff(offsets), longest)
    if len(lengths) and lengths.min() < 1:
        raise InputError("A history holds no item", "Leave out users without one")
    return padded(histories_items, offsets[1:] - lengths, lengths), lengths - 1


def padded(items: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Rows ``items[start:start + length]``, (rows, longest) int64; behind its end a row repeats its last item."""
    steps = np.minimum(np.arange(lengths.max(initial=1)), lengths[:, None] - 1)
    return items[starts[:, None] + steps].astype(np.int64, copy=False)
