"""Units of several dictionaries in one table: which dictionary an id belongs to.

The latents of the audited SAE, of others and of baselines go through the same steps at once. Each dictionary has a
place of its own among the ids: what is counted by unit needs to know nothing of dictionaries, and what is counted of
all units together is counted of a dictionary.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

PLACE_BITS = 20  # a dictionary has at most 2^20 units, and 2^11 dictionaries fit an INT


def dictionary_of(unit: str = "latent_id") -> Column:
    """Number of the dictionary that an id belongs to; 0 for ids of one dictionary alone."""
    return F.shiftright(unit, PLACE_BITS)


def first_id(dictionary: int) -> int:
    """Id of the first unit of a dictionary."""
    return dictionary << PLACE_BITS
