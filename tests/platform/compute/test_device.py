from __future__ import annotations

import pytest
import torch

from recsae_lib.errors import InputError
from recsae_lib.platform.compute.device import resolve_device


def test_cpu_stays_cpu_and_auto_takes_what_is_there() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="torch finds none"):
        resolve_device("cuda")
