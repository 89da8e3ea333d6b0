"""Cases whose right verdict is certain: they show whether a judge has judged, or did as a text among the cases says.

The cases of a request share one message, so that a title of one case can give orders about all of them. Every request
of several cases therefore holds two more, at places drawn by hash: one that fits the concept by construction, as its
items are the concept's own label and description, and one that fits none, as its items are words that nobody has ever
seen. In form they are cases like others. A judge that says "fires" of all cases, or of none, is wrong of one of them.
A request of one case holds none: a text there can only speak of its own case, and the cost would be threefold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from recsae_lib.interpretation.requests import describe_item
from recsae_lib.platform.llm.request_files import JsonObject

KNOWN_CASES = 2  # in a request of several cases
MISJUDGED = "a case whose verdict is known is judged wrongly"
LONGEST_TEXT = 200  # characters of an item's text that the judge sees
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def known_verdicts(numbers: Sequence[int], latent_id: int, seed: int) -> dict[int, bool]:
    """Which of the cases that a request shows are known, and whether the concept fires for each; none of one case.

    Parameters
    ----------
    numbers : of all cases shown, the known ones included.
    """
    if len(numbers) <= KNOWN_CASES:
        return {}
    fires, fires_not, *_ = sorted(numbers, key=lambda number: _digest(f"place {seed} {latent_id} {number}"))
    return {fires: True, fires_not: False}


def add_known_cases(
    cases: Sequence[Sequence[JsonObject]], concept: Mapping[str, str], latent_id: int, first: int, seed: int
) -> list[JsonObject]:
    """Number the cases of a request, known ones among them where there are several.

    Parameters
    ----------
    cases : items of each case, as the judge sees them.
    concept : its label and description.
    first : number of the first case.

    Returns
    -------
    list[JsonObject] : (case, items) by rising number. A known case has as many items as the fullest other one.
    """
    numbers = range(first, first + len(cases) + (KNOWN_CASES if len(cases) > 1 else 0))
    known, others = known_verdicts(numbers, latent_id, seed), iter(cases)
    size = max([1, *map(len, cases)])

    def items_of(number: int) -> Sequence[JsonObject]:
        if number not in known:
            return next(others)
        return fitting_items(concept, size) if known[number] else unfitting_items(f"{seed} {latent_id} {number}", size)

    return [{"case": number, "items": list(items_of(number))} for number in numbers]


def fitting_items(concept: Mapping[str, str], size: int) -> list[JsonObject]:
    """Items that are what the concept says."""
    label, text = concept["label"], concept["description"][:LONGEST_TEXT]
    return [describe_item({"title": label, "text": text, "features": label.split(", ")})] * size


def unfitting_items(key: str, size: int) -> list[JsonObject]:
    """Items of words that a hash has made."""
    titles = [f"{_word(f'{key} {number} a')} {_word(f'{key} {number} b')}".capitalize() for number in range(size)]
    return [
        describe_item({"title": title, "text": "", "features": [_word(f"{key} {number} c")]})
        for number, title in enumerate(titles)
    ]


def _word(key: str) -> str:
    """Six letters that can be spoken."""
    digest = _digest(key)
    return "".join(_CONSONANTS[digest[n] % 14] + _VOWELS[digest[n + 1] % 5] for n in (0, 2, 4))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
