"""Functions that numba compiles when they are first called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; the machine code is kept beside the source or in the user's cache.

    A worker of a cluster may be allowed to write to neither. It then compiles anew, which takes a second or two.
    """
    try:
        kept: Function = njit(cache=True)(function)
    except RuntimeError:  # numba: no locator available
        kept = njit(function)
    return kept
