"""The loops of the sparse autoencoder on a CPU, compiled: exact top-k, sparse decoding, sparse gradients.

A block of rows × latents of pre-activations is made by a matrix product, searched while it is in cache, and forgotten.
"""

from __future__ import annotations

import numpy as np

from recsae_lib.compiled import compiled, compiled_with_free_sums

LARGEST_GROUP = 8  # pre-activations of which the largest is looked at first
RUN = 64  # floats that are held against a bound together: a few vector registers
SMALLEST = np.float32(1e-45)  # positive float
LONGEST_RANKING = 128  # candidates that are sorted by counting who is ahead of whom


@compiled
def keep_top(
    pre_activations: np.ndarray,
    first_latent: int,
    activations: np.ndarray,
    latent_ids: np.ndarray,
    maxima: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Merge a part of the pre-activations into the k largest positive ones of each row, exactly.

    The k-th largest of the maxima of groups is at most the k-th largest of all: only groups whose maximum reaches it
    are searched. Parts come by rising latent.

    Parameters
    ----------
    pre_activations : (rows, latents of the part) float32
    first_latent : id of the first of them.
    activations, latent_ids : (rows, k) float32 and int32, what is kept so far, falling, equal ones by id; 0 and 0 where
        nothing is.
    maxima : (≥ latents of the part, rounded up to `RUN`) float32, room to work in.
    values, ids : (≥ latents of the part + k, rounded up to `RUN`) float32 and int32, room to work in.
    """
    rows, width = pre_activations.shape
    k = activations.shape[1]
    members = max(min(width // (4 * k), LARGEST_GROUP), 1)
    groups = width // members
    padded = (groups + RUN - 1) // RUN * RUN
    maxima[:padded] = 0.0
    bound = np.float32(0.0)
    for row in range(rows):
        given, kept, kept_ids = pre_activations[row], activations[row], latent_ids[row]
        first = given[:groups]
        for group in range(groups):
            maxima[group] = first[group] if first[group] > 0.0 else np.float32(0.0)
        for member in range(1, members):
            part = given[member * groups : (member + 1) * groups]
            for group in range(groups):
                maxima[group] = part[group] if part[group] > maxima[group] else maxima[group]
        bound = _bound(maxima, padded, k, bound)
        floor = max(bound, kept[k - 1], SMALLEST)
        count = 0
        while count < k and kept[count] > 0.0:
            values[count], ids[count] = kept[count], kept_ids[count]
            count += 1
        before = count
        for group in range(groups):
            if maxima[group] >= floor:
                for place in range(group, groups * members, groups):
                    values[count] = given[place]
                    ids[count] = first_latent + place
                    count += 1 if given[place] >= floor else 0
        for place in range(groups * members, width):
            values[count] = given[place]
            ids[count] = first_latent + place
            count += 1 if given[place] >= floor else 0
        if count == before:
            continue
        if count <= LONGEST_RANKING:
            _keep_ranked(values, ids, count, kept, kept_ids)
        else:
            for candidate in range(before, count):
                _insert(kept, kept_ids, values[candidate], ids[candidate])


@compiled
def _bound(maxima: np.ndarray, padded: int, k: int, guess: np.float32) -> np.float32:
    """Return a number that at least k of the maxima reach, and few more; 0 where fewer than k are positive."""
    highest = np.float32(0.0)
    for group in range(padded):
        highest = max(highest, maxima[group])
    below, above = np.float32(0.0), highest
    middle = guess
    for _ in range(12):
        if not below < middle < above:
            middle = np.float32(0.5) * (below + above)
        reached = _count(maxima, padded, middle)
        if reached >= k:
            below = middle
            if reached <= k + k // 8:
                break
        else:
            above = middle
        middle = np.float32(0.5) * (below + above)
    return below


@compiled
def _count(values: np.ndarray, length: int, bound: np.float32) -> np.int64:
    total = np.int64(0)
    for begin in range(0, length, RUN):
        run = values[begin : begin + RUN]
        reached = np.int32(0)
        for place in range(RUN):  # a fixed count and no branch: LLVM makes vector instructions of it
            reached += np.int32(1) if run[place] >= bound else np.int32(0)
        total += reached
    return total


@compiled
def _keep_ranked(values: np.ndarray, ids: np.ndarray, count: int, kept: np.ndarray, kept_ids: np.ndarray) -> None:
    """Put the first `count` candidates where they stand among each other; the list holds no more than its length."""
    padded = (count + RUN - 1) // RUN * RUN
    values[count:padded] = 0.0
    for candidate in range(count):
        value, own = values[candidate], ids[candidate]
        rank = np.int64(0)
        for begin in range(0, padded, RUN):
            others, names = values[begin : begin + RUN], ids[begin : begin + RUN]
            ahead = np.int32(0)
            for place in range(RUN):
                higher = np.int32(1) if others[place] > value else np.int32(0)
                tied = np.int32(1) if others[place] == value else np.int32(0)
                earlier = np.int32(1) if names[place] < own else np.int32(0)
                ahead += higher | (tied & earlier)
            rank += ahead
        if rank < len(kept):
            kept[rank], kept_ids[rank] = value, own


@compiled
def _insert(activations: np.ndarray, latent_ids: np.ndarray, activation: np.float32, latent: int) -> None:
    """Put one before those that are lower, or equal with a higher id; the last one falls out."""
    place = len(activations) - 1
    last = activations[place]
    if activation < last or (activation == last and latent > latent_ids[place]):
        return
    while place > 0:
        before = activations[place - 1]
        if before > activation or (before == activation and latent_ids[place - 1] < latent):
            break
        activations[place] = before
        latent_ids[place] = latent_ids[place - 1]
        place -= 1
    activations[place] = activation
    latent_ids[place] = latent


@compiled_with_free_sums
def subtract_decoded(
    target: np.ndarray, activations: np.ndarray, latent_ids: np.ndarray, W_dec: np.ndarray, out: np.ndarray
) -> np.float64:
    """Write target − z W_dec, (rows, d), to `out` and return the sum of its squares; both may be the same array.

    Parameters
    ----------
    target : (rows, d): x − b_dec, or the residual.
    activations, latent_ids : (rows, k), falling; a row ends at its first zero.
    """
    rows, dimension = target.shape
    total = np.float64(0.0)
    for row in range(rows):
        rest = out[row]
        source = target[row]
        for column in range(dimension):
            rest[column] = source[column]
        for place in range(activations.shape[1]):
            activation = activations[row, place]
            if activation <= 0.0:
                break
            direction = W_dec[latent_ids[row, place]]
            for column in range(dimension):
                rest[column] -= activation * direction[column]
        squares = np.float32(0.0)
        for column in range(dimension):
            squares += rest[column] * rest[column]
        total += squares
    return total


@compiled_with_free_sums
def activation_gradients(
    rest: np.ndarray, factor: float, activations: np.ndarray, latent_ids: np.ndarray, W_dec: np.ndarray, out: np.ndarray
) -> None:
    """Write the derivative of factor/2 · ‖target − z W_dec‖² by each activation, (rows, k); 0 where none is active.

    Parameters
    ----------
    rest : (rows, d): target − z W_dec.
    """
    rows, dimension = rest.shape
    for row in range(rows):
        of_row = rest[row]
        for place in range(activations.shape[1]):
            if activations[row, place] <= 0.0:
                out[row, place] = 0.0
                continue
            direction = W_dec[latent_ids[row, place]]
            product = np.float32(0.0)
            for column in range(dimension):
                product += of_row[column] * direction[column]
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
    rest: np.ndarray,
    factor: float,
    W_enc_gradient: np.ndarray,
    b_enc_gradient: np.ndarray,
    W_dec_gradient: np.ndarray,
) -> None:
    """Add the derivatives of factor/2 · Σ‖target − z W_dec‖² by the weights of some latents.

    A latent's rows are summed in their order, whatever other latents do: threads that share the latents among them
    give the same bits as one.

    Parameters
    ----------
    latents : ids of them.
    starts, entries : as `sort_by_latent`.
    activations, by_activation : (rows, k)
    centred : (rows, d): x − b_dec.
    rest : (rows, d): target − z W_dec.
    """
    k = activations.shape[1]
    dimension = centred.shape[1]
    for latent in latents:
        encoder, decoder = W_enc_gradient[latent], W_dec_gradient[latent]
        bias = np.float32(0.0)
        for entry in entries[starts[latent] : starts[latent + 1]]:
            row, place = entry // k, entry % k
            by = by_activation[row, place]
            by_direction = -np.float32(factor) * activations[row, place]
            bias += by
            of_row, left = centred[row], rest[row]
            for column in range(dimension):
                encoder[column] += by * of_row[column]
                decoder[column] += by_direction * left[column]
        b_enc_gradient[latent] += bias
