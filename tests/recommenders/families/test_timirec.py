from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recsae_lib.config import TimirecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.timirec import FineTuning, Pretraining, Timirec
from recsae_lib.recommenders.protocol import Histories
from tests.histories import all_for_training

ITEMS, DIMENSION, LENGTH, INTERESTS = 12, 6, 5, 3
USERS = [[1, 2, 3, 4], [5, 6], [9]]


def model_of(**changes: object) -> Timirec:
    torch.manual_seed(0)
    configured = {"history_length": LENGTH, "interests": INTERESTS, "attention_size": 4, "temperature": 0.7, **changes}
    model = Timirec(ITEMS, DIMENSION, TimirecSettings.model_validate(configured))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.4)
    return model.eval()


def histories_of(users: list[list[int]]) -> Histories:
    flat = np.array([item for user in users for item in user], dtype=np.int64)
    return Histories(np.full(len(users), -1), np.cumsum([0, *map(len, users)]), flat)


def softmax(values: np.ndarray) -> np.ndarray:
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def reference(model: Timirec, items: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The equations of the docstring in numpy: interests (K, d) and q (K,) after the last item."""
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    items = items[-LENGTH:]
    rows = w["items.weight"][items]
    hidden = np.tanh((rows + w["positions.weight"][: len(items)]) @ w["attention_in.weight"].T)
    logits = hidden @ w["attention_out.weight"].T
    v = np.stack([softmax(logits[:, k]) @ rows for k in range(INTERESTS)])

    def sigmoid(values: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-values))

    h = np.zeros(DIMENSION)
    for row in rows:
        gates = w["predictor.weight_ih_l0"] @ row + w["predictor.bias_ih_l0"]
        recurrent = w["predictor.weight_hh_l0"] @ h + w["predictor.bias_hh_l0"]
        (reset_in, update_in, new_in), (reset_h, update_h, new_h) = np.split(gates, 3), np.split(recurrent, 3)
        reset, update = sigmoid(reset_in + reset_h), sigmoid(update_in + update_h)
        h = (1 - update) * np.tanh(new_in + reset * new_h) + update * h
    q = softmax((w["predicted.weight"] @ h + w["predicted.bias"]) / model.settings.temperature)
    return v, q


def test_the_representation_is_that_of_the_equations() -> None:
    model = model_of()
    users = [[3], [4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0]]
    x = model.represent(model.build_inputs(histories_of(users)))
    expected = [q @ v for v, q in (reference(model, user) for user in users)]
    np.testing.assert_allclose(x.numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.score(x).numpy(), x.numpy() @ model.item_embeddings().numpy().T, rtol=1e-4)
    assert not x.requires_grad


def test_a_later_item_changes_no_earlier_output() -> None:
    model = model_of()
    items = torch.tensor([[1, 2, 3, 4, 5]])
    before = model(items)
    items[0, 3] = 10
    after = model(items)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).all(dim=2).any()


def test_pretraining_is_evaluated_by_the_nearest_interest() -> None:
    model = model_of()
    recommender = Pretraining(model, all_for_training(USERS, ITEMS), model.settings).recommender()
    scores = recommender.score(recommender.represent(recommender.build_inputs(histories_of(USERS))))
    embeddings = model.item_embeddings().numpy()
    expected = [(embeddings @ reference(model, user)[0].T).max(1) for user in USERS]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("phase", [Pretraining, FineTuning])
@pytest.mark.parametrize("loss", ["cross_entropy", "bpr"])
def test_the_loss_of_a_batch_is_the_mean_over_its_predictions(phase: type[Pretraining], loss: str) -> None:
    model = model_of(dropout=0.0, loss=loss)
    objective = phase(model, all_for_training(USERS, ITEMS), model.settings)
    (batch,) = [b for b in objective.batches(np.random.default_rng(6)) if len(b["targets"])]
    embeddings, temperature = model.item_embeddings().double().numpy(), model.settings.temperature
    losses, position = [], 0
    for items, predicts in zip(batch["items"].tolist(), batch["predicts"].tolist(), strict=True):
        for t in np.flatnonzero(predicts):
            v, q = reference(model, items[: t + 1])
            target = int(batch["targets"][position])
            closeness = v @ embeddings[target]
            x = v[closeness.argmax()] if phase is Pretraining else q @ v
            scores = embeddings @ x
            if loss == "cross_entropy":
                value = np.log(np.exp(scores).sum()) - scores[target]
            else:
                value = np.log1p(np.exp(scores[int(batch["negatives"][position])] - scores[target]))
            if phase is FineTuning:
                p = softmax(closeness / temperature)
                value += temperature**2 * (p * np.log(p / q)).sum()
            losses.append(value)
            position += 1
    assert position == len(batch["targets"]) == 4
    assert float(objective.loss(batch).detach()) == pytest.approx(np.mean(losses), rel=1e-4)


def test_the_target_distribution_is_detached() -> None:
    """The gradient is that of the loss in which p is a constant that numpy made."""
    model = model_of(dropout=0.0)
    objective = FineTuning(model, all_for_training(USERS, ITEMS), model.settings)
    (batch,) = objective.batches(np.random.default_rng(0))
    embeddings, temperature = model.item_embeddings().double().numpy(), model.settings.temperature
    contexts = [
        items[: t + 1]
        for items, predicts in zip(batch["items"].tolist(), batch["predicts"], strict=True)
        for t in predicts.nonzero().flatten().tolist()
    ]
    closeness = [
        reference(model, context)[0] @ embeddings[target]
        for context, target in zip(contexts, batch["targets"].tolist(), strict=True)
    ]
    p = torch.tensor(np.stack([softmax(values / temperature) for values in closeness]), dtype=torch.float32)
    v, log_q = (part(batch["items"])[batch["predicts"]] for part in (model.interests, model.predict))
    x = (log_q.exp().unsqueeze(2) * v).sum(1)
    loss = F.cross_entropy(x @ model.items.weight.T, batch["targets"])
    loss = loss + temperature**2 * (p * (p.log() - log_q)).sum(1).mean()
    expected = torch.autograd.grad(loss, list(model.parameters()))
    objective.loss(batch).backward()
    for (name, parameter), gradient in zip(model.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_nothing_to_predict_is_refused() -> None:
    model = model_of()
    with pytest.raises(InputError, match="nothing to train on"):
        Pretraining(model, all_for_training([[1], []], ITEMS), model.settings)
