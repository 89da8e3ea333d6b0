"""What naming latents by a language model would cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable

from recsae_lib.platform.llm.estimate import RequestEstimate, estimate_requests
from recsae_lib.platform.llm.request_files import JsonObject

ANSWER_CHARACTERS = 400  # of a usual answer: a label, two sentences, some features


def estimate_labels(requests: Iterable[JsonObject]) -> RequestEstimate:
    """Estimate requests of `build_label_request` and their answers."""
    return estimate_requests(requests, ANSWER_CHARACTERS)
