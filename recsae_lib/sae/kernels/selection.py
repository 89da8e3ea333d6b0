"""Which latents are active for a row, on a CPU, in compiled loops: the k largest, of a row or of a batch, exactly.

A block of rows × latents of pre-activations is made by a matrix product, searched while it is in cache, and forgotten.
"""

from __future__ import annotations

import numpy as np

from recsae_lib.platform.compute.compiled import compiled

LARGEST_GROUP = 8  # pre-activations of which the largest is looked at first
RUN = 64  # floats that are held against a bound together: a few vector registers
SHORT_RUN = 32  # candidates that are ranked together
SMALLEST = np.float32(1e-45)  # positive float
LONGEST_RANKING = 128  # candidates that are sorted by counting who is ahead of whom


@compiled
def keep_top(
    products: np.ndarray,
    bias: np.ndarray,
    first_latent: int,
    activations: np.ndarray,
    latent_ids: np.ndarray,
    lowest: np.float32,
    maxima: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
) -> None:
    """Merge a part of the pre-activations into the k largest of each row that reach `lowest`, exactly.

    The k-th largest of the maxima of groups is at most the k-th largest of all: only groups whose maximum reaches it
    are searched. Parts come by rising latent.

    Parameters
    ----------
    products : (rows, latents of the part) float32; pre-activations without their bias, which is added here in passing.
    bias : (latents of the part,) float32
    first_latent : id of the first of them.
    activations, latent_ids : (rows, k) float32 and int32, what is kept so far, falling, equal ones by id; 0 and 0 where
        nothing is.
    lowest : positive; what does not reach it is not active.
    maxima : (≥ latents of the part, rounded up to `RUN`) float32, room to work in.
    values, ids : (≥ latents of the part + k, rounded up to `RUN`) float32 and int32, room to work in.
    """
    rows, width = products.shape
    k = activations.shape[1]
    members = max(min(width // (4 * k), LARGEST_GROUP), 1)
    groups = width // members
    padded = (groups + RUN - 1) // RUN * RUN
    maxima[:padded] = 0.0
    found = np.empty(groups + 1, dtype=np.int32)
    ranks = np.empty(SHORT_RUN, dtype=np.int32)
    ordered = np.empty(LONGEST_RANKING, dtype=np.float32)
    ordered_ids = np.empty(LONGEST_RANKING, dtype=np.int32)
    bound = np.float32(0.0)
    for row in range(rows):
        given, kept, kept_ids = products[row], activations[row], latent_ids[row]
        for group in range(groups):
            maxima[group] = 0.0
        for member in range(0, members, 2):
            one, other = member * groups, min(member + 1, members - 1) * groups  # the last of an odd number twice
            of_one, bias_of_one = given[one : one + groups], bias[one : one + groups]
            of_other, bias_of_other = given[other : other + groups], bias[other : other + groups]
            for group in range(groups):
                value = of_one[group] + bias_of_one[group]
                second = of_other[group] + bias_of_other[group]
                value = value if value > second else second
                maxima[group] = value if value > maxima[group] else maxima[group]
        floor = kept[k - 1]
        if floor <= 0.0:  # else the k of earlier parts are a bound that few of this one reach
            floor = bound = _bound(maxima, padded, k, bound)
        floor = max(floor, lowest)
        count = np.uint64(0)
        while count < k and kept[count] > 0.0:
            values[count], ids[count] = kept[count], kept_ids[count]
            count += np.uint64(1)
        before = count
        # Without a branch, which nobody can predict, and with indices that numba need not test for being negative.
        reaching = np.uint64(0)
        for group in range(groups):
            found[reaching] = group
            reaching += np.uint64(1) if maxima[group] >= floor else np.uint64(0)
        for hit in range(reaching):
            place = np.uint64(found[hit])
            for _ in range(members):
                value = given[place] + bias[place]
                values[count], ids[count] = value, first_latent + np.int64(place)
                count += np.uint64(1) if value >= floor else np.uint64(0)
                place += np.uint64(groups)
        for ungrouped in range(groups * members, width):
            value = given[ungrouped] + bias[ungrouped]
            values[count], ids[count] = value, first_latent + ungrouped
            count += np.uint64(1) if value >= floor else np.uint64(0)
        if count == before:
            continue
        if count <= LONGEST_RANKING:
            _keep_ranked(values, ids, np.int64(count), ranks, ordered, ordered_ids, kept, kept_ids)
        else:
            for candidate in range(before, count):
                _insert(kept, kept_ids, values[candidate], ids[candidate])


@compiled
def _bound(maxima: np.ndarray, padded: int, k: int, guess: np.float32) -> np.float32:
    """Return a number that at least k of the maxima reach, and few more; 0 where fewer than k are positive.

    Parameters
    ----------
    guess : what was returned for another row, which is near more often than not; 0 where there is none.
    """
    below, above = np.float32(0.0), np.float32(np.inf)
    middle = guess
    if middle <= 0.0:
        for group in range(padded):
            middle = max(middle, maxima[group])
        middle *= np.float32(0.5)
    for _ in range(12):
        reached = _count(maxima, padded, middle)
        if reached >= k:
            below = middle
            if reached <= k + k // 4:
                break
        else:
            above = middle
        # As many standard deviations as the tail of a normal distribution would ask, roughly.
        middle *= np.float32(1.0 + 0.15 * (reached - k - k // 8) / k) if reached > 0 else np.float32(0.5)
        if not below < middle < above:
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
def _keep_ranked(
    values: np.ndarray,
    ids: np.ndarray,
    count: np.int64,
    ranks: np.ndarray,
    ordered: np.ndarray,
    ordered_ids: np.ndarray,
    kept: np.ndarray,
    kept_ids: np.ndarray,
) -> None:
    """Put the first `count` candidates where they stand among each other; the list holds no more than its length."""
    for begin in range(0, count, SHORT_RUN):
        of_run, own, behind = values[begin : begin + SHORT_RUN], ids[begin : begin + SHORT_RUN], ranks[:SHORT_RUN]
        behind[:] = 0
        for other in range(count):
            value, name = values[other], ids[other]
            for place in range(SHORT_RUN):  # a fixed count and no branch, as in `_count`
                higher = np.int32(1) if value > of_run[place] else np.int32(0)
                tied = np.int32(1) if value == of_run[place] else np.int32(0)
                earlier = np.int32(1) if name < own[place] else np.int32(0)
                behind[place] += higher | (tied & earlier)
        for place in range(SHORT_RUN):
            if begin + place < count:
                rank = np.uint64(behind[place])
                ordered[rank], ordered_ids[rank] = of_run[place], own[place]
    for place in range(len(kept)):
        if place < count:
            kept[place], kept_ids[place] = ordered[place], ordered_ids[place]


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


@compiled
def keep_largest(pre_activations: np.ndarray, k: int) -> None:
    """Set to 0 in each row all but the k largest positive numbers, in place; of equal ones the first are kept.

    Unlike `keep_top` it ranks nothing, which suits a k that is not much smaller than the row.

    Parameters
    ----------
    pre_activations : (rows, a multiple of `RUN`) float32
    """
    rows, width = pre_activations.shape
    bound = np.float32(0.0)
    for row in range(rows):
        values = pre_activations[row]
        bound, at_bound = _k_th_largest(values, width, k, bound)
        for place in range(width):
            values[place] = values[place] if values[place] >= bound else np.float32(0.0)
        if at_bound < 0:
            continue
        for place in range(width):
            if values[place] == bound:
                at_bound -= 1
                if at_bound < 0:
                    values[place] = 0.0


@compiled
def _k_th_largest(values: np.ndarray, length: int, k: int, guess: np.float32) -> tuple[np.float32, np.int64]:
    """Return a bound and how many of the numbers that equal it belong to the k largest; −1 where all of them do."""
    if _count(values, length, SMALLEST) <= k:
        return SMALLEST, np.int64(-1)
    above = SMALLEST  # fewer than k reach it
    for place in range(length):
        above = max(above, values[place])
    if _count(values, length, above) >= k:
        return above, np.int64(k)
    below = SMALLEST  # more than k reach it
    middle = guess
    while True:
        if not below < middle < above:
            middle = np.float32(0.5) * (below + above)
            if not below < middle < above:  # they are neighbours: the numbers that equal `below` tie
                return below, np.int64(k - _count(values, length, above))
        reached = _count(values, length, middle)
        if reached == k:
            return middle, np.int64(-1)
        if reached > k:
            below = middle
        else:
            above = middle
        middle = np.float32(0.5) * (below + above)


BINS = 2**15  # of positive floats by sign, exponent and the first seven bits behind


@compiled
def n_th_largest(values: np.ndarray, number: int) -> np.float32:
    """Return the `number`-th largest of the positive numbers; the smallest of them where there are fewer.

    Parameters
    ----------
    values : (any,) float32; at least one is positive.
    """
    bits = values.view(np.int32)
    counts = np.zeros(BINS, dtype=np.int64)
    positive, smallest = np.int64(0), np.float32(np.inf)
    for place in range(len(values)):
        if values[place] > 0.0:
            counts[bits[place] >> 16] += 1
            positive += 1
            smallest = min(smallest, values[place])
    if positive <= number:
        return smallest
    chosen, before = BINS - 1, np.int64(0)
    while before + counts[chosen] < number:
        before += counts[chosen]
        chosen -= 1
    members = np.empty(counts[chosen], dtype=np.float32)
    found = 0
    for place in range(len(values)):
        if values[place] > 0.0 and bits[place] >> 16 == chosen:
            members[found] = values[place]
            found += 1
    members.sort()
    return members[found - (number - before)]


@compiled
def keep_reaching(activations: np.ndarray, lowest: np.float32, number: int) -> None:
    """Set to 0 what is below `lowest`, and of what equals it all that goes beyond `number` in the order of the rows.

    Parameters
    ----------
    activations : (rows, k) float32, falling in each row.
    """
    rows, k = activations.shape
    higher = np.int64(0)
    for row in range(rows):
        for place in range(k):
            if activations[row, place] <= lowest:
                break
            higher += 1
    equal = number - higher
    for row in range(rows):
        for place in range(k):
            if activations[row, place] > lowest:
                continue
            if activations[row, place] == lowest and equal > 0:
                equal -= 1
                continue
            activations[row, place] = 0.0
