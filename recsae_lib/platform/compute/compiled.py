"""Functions that numba compiles when they are first called.

For loops that numpy and torch can only run as several passes over memory, or by way of a batch × M matrix. Gain, on two
cores: recommending from 100 thousand items became five times as fast (`make bench ONLY=recommend_items`), a training
step of the SAE is 2.8 to 7.2 times as fast as that of a peer in plain torch (`sae_step`), streamed rows are shuffled in
a third of the time. On small data the compiling, a second or two, is all that shows. Delete a loop when its benchmark
is as fast without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be taken in another order and products be fused, which vector instructions need; NaN and infinity stay.
FREE_SUMS = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; the machine code is kept beside the source or in the user's cache.

    It runs without the interpreter's lock, and compiles anew, which takes a second or two, where a worker of a cluster
    is allowed to write to neither place.
    """
    return _compile(function, fastmath=False)


def compiled_with_free_sums(function: Function) -> Function:
    """As `compiled`, with `FREE_SUMS`."""
    return _compile(function, fastmath=FREE_SUMS)


def _compile(function: Function, **options: Any) -> Function:
    # Divisions give NaN and infinity as in numpy: a test for zero would keep loops from vector instructions.
    options = {"nogil": True, "error_model": "numpy", **options}
    try:
        kept: Function = njit(cache=True, **options)(function)
    except RuntimeError:  # numba: no locator available
        kept = njit(**options)(function)
    return kept
