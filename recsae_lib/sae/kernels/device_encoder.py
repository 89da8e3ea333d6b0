"""Exact top-k encoding on any device of torch: some rows at a time, with bfloat16 products where asked."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F

BLOCK_FLOATS = 2**27  # 512 MiB: of a block's pre-activations, or of the rows of weights that are gathered for it
SPARE = 8  # latents beyond k that rounded products put forward: among near ties exact activations decide


def row_blocks(rows: int, floats_a_row: int, block_floats: int = BLOCK_FLOATS) -> Iterator[slice]:
    """Cut rows into blocks that hold `block_floats` at most, and one row at least."""
    size = max(block_floats // floats_a_row, 1)
    return (slice(begin, min(begin + size, rows)) for begin in range(0, rows, size))


@torch.no_grad()
def encode_on_device(
    centred: torch.Tensor,
    W_enc: torch.Tensor,
    b_enc: torch.Tensor,
    k: int,
    threshold: float | torch.Tensor = 0.0,
    rounded: bool = False,
    block_floats: int = BLOCK_FLOATS,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k largest activations of each row, falling, and their int64 latents; equal ones stand by id.

    Parameters
    ----------
    centred : (rows, d): x − b_dec.
    W_enc, b_enc : (M, d) and (M,)
    threshold : what does not reach it is not active.
    rounded : bfloat16 products put k + `SPARE` latents forward, whose activations are then computed as they are. What
        they miss is about as large as the k-th largest; whether that matters is for the caller to measure.
    block_floats : numbers that are held at a time.
    """
    number = min(k + SPARE, len(W_enc))
    weights, floats_a_row = (W_enc.bfloat16(), number * W_enc.shape[1]) if rounded else (W_enc, 1)
    found = []
    for rows in row_blocks(len(centred), max(len(W_enc), floats_a_row), block_floats):
        block = centred[rows]
        if rounded:
            ids = (F.linear(block.bfloat16(), weights).float() + b_enc).topk(number).indices.sort(1).values
            values, places = top_activations(pre_activations_at(block, W_enc, b_enc, ids), k, threshold)
            found.append((values, ids.gather(1, places).masked_fill(values == 0, 0)))
        else:
            found.append(top_activations(torch.addmm(b_enc, block, W_enc.T), k, threshold))
    if not found:
        return centred.new_empty(0, k), torch.empty(0, k, dtype=torch.int64, device=centred.device)
    return torch.cat([values for values, _ in found]), torch.cat([ids for _, ids in found])


def pre_activations_at(
    centred: torch.Tensor, W_enc: torch.Tensor, b_enc: torch.Tensor, latent_ids: torch.Tensor
) -> torch.Tensor:
    """W_enc (x − b_dec) + b_enc of (rows, n) latents alone, with gradient; holds (rows, n, d) numbers."""
    return torch.einsum("nkd,nd->nk", F.embedding(latent_ids, W_enc), centred) + b_enc[latent_ids]


def top_activations(
    pre_activations: torch.Tensor, k: int, threshold: float | torch.Tensor = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return TopK_k(ReLU(pre_activations)) of (batch, M) as (batch, k) falling activations and int64 ids.

    What does not reach `threshold` is not active. Equal activations stand by id, and of those that tie for the last
    place the lowest ids are kept; the id is 0 where the activation is zero.
    """
    # One more than k shows whether the last place is tied.
    values, ids = pre_activations.topk(min(k + 1, pre_activations.shape[1]), sorted=True)
    if values.shape[1] > k:
        tied = ((values[:, k - 1] == values[:, k]) & (values[:, k] > 0)).nonzero().squeeze(1)
        values, ids = values[:, :k], ids[:, :k]
        if len(tied):
            ordered, order = pre_activations[tied].sort(dim=1, descending=True, stable=True)
            values = values.index_copy(0, tied, ordered[:, :k])
            ids = ids.index_copy(0, tied, order[:, :k])
    values = torch.where(values >= threshold, values, 0).relu()
    ids, by_id = ids.masked_fill(values == 0, 0).sort(dim=1)
    values, falling = values.gather(1, by_id).sort(dim=1, descending=True, stable=True)
    return values, ids.gather(1, falling)
