"""The two halves of the users: what names a concept never judges it."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F


def in_construct_half(user_id: Column, salt: str) -> Column:
    """Say whether a user belongs to the construct half (METHOD.md section 3; ours, RecSAE uses all users for both).

    ::

        construct ⇔ hash64(salt, user_id) is even

    About half of the users are, whatever their ids look like; the others are the verify half. The answer for one user
    depends on nothing but the id and the salt, so that a user never changes sides as others come and go.

    Parameters
    ----------
    user_id : STRING column.
    salt : another salt is another, independent split.

    Returns
    -------
    Column : BOOLEAN.
    """
    return F.xxhash64(F.lit("half"), F.lit(salt), user_id).bitwiseAND(F.lit(1)) == 0
