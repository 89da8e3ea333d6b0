from __future__ import annotations

import pytest

from recsae_lib.platform.llm.failures import used_up_seconds


@pytest.mark.parametrize(
    ("headers", "next_tokens", "seconds"),
    [
        ({}, 10, 0.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "5s"}, 10, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5s"}, 10, 5.0),
        ({"x-ratelimit-remaining-tokens": "9", "x-ratelimit-reset-tokens": "1m2.5s"}, 10, 62.5),
        ({"x-ratelimit-remaining-tokens": "10", "x-ratelimit-reset-tokens": "1m0s"}, 10, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, 10, 0.0),
        ({"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "5s"}, 10, 0.0),
    ],
)
def test_rate_limit_headers_say_how_long_to_wait(headers: dict[str, str], next_tokens: int, seconds: float) -> None:
    assert used_up_seconds(headers, next_tokens) == seconds


def test_the_tighter_of_two_limits_counts() -> None:
    requests = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "250ms"}
    tokens = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "2"}
    assert used_up_seconds({**requests, **tokens}, 1) == 2.0
