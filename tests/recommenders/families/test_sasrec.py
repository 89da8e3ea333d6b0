from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from recsae_lib.config import SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.sasrec import Sasrec, SasrecObjective
from recsae_lib.recommenders.protocol import Histories
from tests.histories import all_for_training

ITEMS, DIMENSION, LENGTH = 30, 8, 6
CPU = torch.device("cpu")


def model_of(**changes: object) -> Sasrec:
    torch.manual_seed(0)
    model = Sasrec(ITEMS, DIMENSION, SasrecSettings(history_length=LENGTH, **{"layers": 2, "heads": 2, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)  # biases and norms that matter
    return model.eval()


def histories_of(users: list[list[int]]) -> Histories:
    return Histories(
        np.full(len(users), -1),
        np.cumsum([0, *map(len, users)]),
        np.array([i for user in users for i in user], np.int64),
    )


def represent(model: Sasrec, users: list[list[int]]) -> torch.Tensor:
    return model.represent(model.build_inputs(histories_of(users)))


def reference(model: Sasrec, items: list[int]) -> np.ndarray:
    """The equations of the docstring in numpy, one user, one position and one head at a time."""
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    erf = np.vectorize(math.erf)

    def norm(h: np.ndarray, name: str) -> np.ndarray:
        centred = h - h.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(h: np.ndarray, name: str) -> np.ndarray:
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    items = items[-LENGTH:]
    h = norm(w["items.weight"][items] + w["positions.weight"][: len(items)], "norm")
    for number in range(len(model.blocks)):
        block = f"blocks.{number}"
        q, k, v = np.split(linear(h, f"{block}.attention_in"), 3, axis=1)
        attended = np.zeros_like(h)
        width = DIMENSION // model.settings.heads
        for head in range(model.settings.heads):
            part = slice(head * width, (head + 1) * width)
            for t in range(len(items)):
                weights = np.exp(q[t, part] @ k[: t + 1, part].T / np.sqrt(width))
                attended[t, part] = weights @ v[: t + 1, part] / weights.sum()
        a = norm(h + linear(attended, f"{block}.attention_out"), f"{block}.attention_norm")
        inner = linear(a, f"{block}.inner")
        gelu = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
        h = norm(a + linear(gelu, f"{block}.outer"), f"{block}.norm")
    return h[-1]


@pytest.mark.parametrize("heads", [1, 2])
def test_the_representation_is_that_of_the_equations(heads: int) -> None:
    model = model_of(heads=heads)
    users = [[3], [4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0]]
    x = represent(model, users)
    assert x.dtype == torch.float32
    assert not x.requires_grad
    np.testing.assert_allclose(x.numpy(), [reference(model, user) for user in users], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        model.score(x).numpy(), x.numpy() @ model.item_embeddings().numpy().T, rtol=1e-4, atol=1e-5
    )


def test_a_later_item_changes_no_earlier_output() -> None:
    model = model_of()
    items = torch.tensor([[1, 2, 3, 4, 5, 6]])
    before = model(items)
    items[0, 4] = 20
    after = model(items)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.isclose(before[:, 4:], after[:, 4:]).all(dim=2).any()


def test_a_user_is_represented_alike_in_any_company() -> None:
    model = model_of()
    users = [[3], [4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9]]
    together = represent(model, users)
    alone = torch.cat([represent(model, [user]) for user in users])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_only_the_latest_items_are_read() -> None:
    model = model_of()
    assert torch.equal(represent(model, [[7, 7, 1, 2, 3, 4, 5, 6]]), represent(model, [[9, 1, 2, 3, 4, 5, 6]]))


def test_probing_leaves_training_mode() -> None:
    model = model_of(dropout=0.9).train()
    assert torch.equal(represent(model, [[1, 2]]), represent(model, [[1, 2]]))


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(InputError, match="holds no item"):
        model_of().build_inputs(histories_of([[1], []]))


def test_no_users_have_no_representations() -> None:
    assert represent(model_of(), []).shape == (0, DIMENSION)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(InputError, match="3 attention heads do not divide 8 dimensions"):
        model_of(heads=3)


@pytest.mark.parametrize("loss", ["cross_entropy", "bpr"])
def test_the_loss_of_a_batch_is_the_mean_over_its_predictions(loss: str) -> None:
    users = [[1, 2, 3, 4], [5, 6], [9]]
    configured = SasrecSettings(history_length=LENGTH, dropout=0.0, loss=loss)
    objective = SasrecObjective(all_for_training(users, ITEMS), DIMENSION, configured, CPU)
    (batch,) = [b for b in objective.batches(np.random.default_rng(6)) if len(b["targets"])]
    model, weight = objective.network.eval(), objective.network.item_embeddings().double().numpy()
    losses, position = [], 0
    for items, predicts in zip(batch["items"].tolist(), batch["predicts"].tolist(), strict=True):
        for t in np.flatnonzero(predicts):
            scores = weight @ reference(model, items[: t + 1])
            target = int(batch["targets"][position])
            if loss == "cross_entropy":
                losses.append(np.log(np.exp(scores).sum()) - scores[target])
            else:
                losses.append(np.log1p(np.exp(scores[int(batch["negatives"][position])] - scores[target])))
            position += 1
    assert position == len(batch["targets"]) == 4
    assert float(objective.loss(batch).detach()) == pytest.approx(np.mean(losses), rel=1e-4)
