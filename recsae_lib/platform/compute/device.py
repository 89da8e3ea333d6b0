"""Where torch computes while training."""

from __future__ import annotations

import torch

from recsae_lib.config import Device
from recsae_lib.errors import InputError


def resolve_device(setting: Device) -> str:
    """Turn ``auto`` into cuda where there is one, else cpu.

    Raises
    ------
    InputError : cuda was asked for and there is none.
    """
    available = torch.cuda.is_available()
    if setting == "cuda" and not available:
        raise InputError("device is cuda, and torch finds none", "Set device to auto or cpu")
    return "cuda" if available and setting != "cpu" else "cpu"
