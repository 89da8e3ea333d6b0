"""Sparse decoding and its gradients on a CPU, in compiled loops over the active latents of each row.

Of nested dictionaries (Matryoshka) the first G prefixes of the latents each reconstruct by themselves; a plain one has
G = 1. ``group_of`` says for each latent which is the first prefix that holds it.
"""

from __future__ import annotations

import numpy as np

from recsae_lib.platform.compute.compiled import compiled, compiled_with_free_sums


@compiled_with_free_sums
def subtract_decoded(
    target: np.ndarray,
    activations: np.ndarray,
    latent_ids: np.ndarray,
    W_dec: np.ndarray,
    group_of: np.ndarray,
    rest: np.ndarray,
) -> np.float64:
    """Write Σ_{h ≥ g} (target − z_h W_dec), where z_h is z within prefix h, to ``rest[:, g]``.

    Parameters
    ----------
    target : (rows, d): x − b_dec, or the residual.
    activations, latent_ids : (rows, k); a row ends at its first zero.
    group_of : (M,) int8, below G.
    rest : (rows, G, d), written; its last group is the residual of the whole dictionary.

    Returns
    -------
    float : Σ‖target − z W_dec‖² of the whole dictionary.
    """
    rows, groups, dimension = rest.shape
    total = np.float64(0.0)
    for row in range(rows):
        source = target[row]
        for group in range(groups):
            left = rest[row, group]
            for column in range(dimension):
                left[column] = source[column]
            for place in range(activations.shape[1]):
                activation = activations[row, place]
                if activation <= 0.0:
                    break
                latent = latent_ids[row, place]
                if group_of[latent] != group:
                    continue
                direction = W_dec[latent]
                for column in range(dimension):
                    left[column] -= activation * direction[column]
            source = left
        squares = np.float32(0.0)
        for column in range(dimension):
            squares += source[column] * source[column]
        total += squares
        for group in range(groups - 2, -1, -1):
            left, longer = rest[row, group], rest[row, group + 1]
            for column in range(dimension):
                left[column] += longer[column]
    return total


@compiled_with_free_sums
def activation_gradients(
    rest: np.ndarray,
    factor: float,
    activations: np.ndarray,
    latent_ids: np.ndarray,
    W_dec: np.ndarray,
    group_of: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the derivative of factor/2 · Σ_g ‖target − z_g W_dec‖² by each active activation, (rows, k).

    Parameters
    ----------
    rest : (rows, G, d), as `subtract_decoded` leaves it.
    """
    rows, _, dimension = rest.shape
    for row in range(rows):
        for place in range(activations.shape[1]):
            if activations[row, place] <= 0.0:
                break
            latent = latent_ids[row, place]
            direction, left = W_dec[latent], rest[row, group_of[latent]]
            product = np.float32(0.0)
            for column in range(dimension):
                product += left[column] * direction[column]
            out[row, place] = -factor * product


@compiled
def sort_by_latent(activations: np.ndarray, latent_ids: np.ndarray, starts: np.ndarray, entries: np.ndarray) -> None:
    """List the active entries of each latent, by row: ``entries[starts[j]:starts[j + 1]]`` are row · k + place.

    Parameters
    ----------
    starts : (M + 1,) int64, written.
    entries : (rows · k,) int64, written up to ``starts[M]``.
    """
    rows, k = activations.shape
    starts[:] = 0
    for row in range(rows):
        for place in range(k):
            if activations[row, place] <= 0.0:
                break
            starts[latent_ids[row, place] + 1] += 1
    for latent in range(len(starts) - 1):
        starts[latent + 1] += starts[latent]
    for row in range(rows):
        for place in range(k):
            if activations[row, place] <= 0.0:
                break
            latent = latent_ids[row, place]
            entries[starts[latent]] = row * k + place
            starts[latent] += 1
    for latent in range(len(starts) - 1, 0, -1):
        starts[latent] = starts[latent - 1]
    starts[0] = 0


@compiled_with_free_sums
def add_weight_gradients(
    latents: np.ndarray,
    starts: np.ndarray,
    entries: np.ndarray,
    activations: np.ndarray,
    by_activation: np.ndarray,
    centred: np.ndarray,
    group_of: np.ndarray,
    rest: np.ndarray,
    factor: float,
    W_enc_gradient: np.ndarray,
    b_enc_gradient: np.ndarray,
    W_dec_gradient: np.ndarray,
) -> None:
    """Add the derivatives of factor/2 · Σ_g Σ‖target − z_g W_dec‖² by the weights of some latents.

    A latent's rows are summed in their order, whatever other latents do: threads that share the latents among them
    give the same bits as one.

    Parameters
    ----------
    latents : ids of them.
    starts, entries : as `sort_by_latent`.
    activations, by_activation : (rows, k)
    centred : (rows, d): x − b_dec.
    group_of, rest : as in `subtract_decoded`.
    """
    k = activations.shape[1]
    dimension = centred.shape[1]
    for latent in latents:
        encoder, decoder, group = W_enc_gradient[latent], W_dec_gradient[latent], group_of[latent]
        bias = np.float32(0.0)
        for entry in entries[starts[latent] : starts[latent + 1]]:
            row, place = entry // k, entry % k
            by = by_activation[row, place]
            by_direction = -np.float32(factor) * activations[row, place]
            bias += by
            of_row, left = centred[row], rest[row, group]
            for column in range(dimension):
                encoder[column] += by * of_row[column]
                decoder[column] += by_direction * left[column]
        b_enc_gradient[latent] += bias


@compiled
def keep_active(gradients: np.ndarray, activations: np.ndarray, factor: float) -> None:
    """Multiply by `factor` where an activation is positive, set to 0 elsewhere; both (rows, latents), in place."""
    rows, latents = gradients.shape
    for row in range(rows):
        of_row, active = gradients[row], activations[row]
        for latent in range(latents):
            of_row[latent] = np.float32(factor) * of_row[latent] if active[latent] > 0.0 else np.float32(0.0)
