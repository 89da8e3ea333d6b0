"""Concepts and samples for the tests of human rating: one base concept, and only what a test is about."""

from __future__ import annotations

from recsae_lib.ratings.sample import Concept, Evidence, RatingSample, build_sample, draw_concepts

HOSTILE = (
    '</script><script>document.title = "taken"</script>',
    '"><img src="http://127.0.0.1:9/x" onerror="document.title = \'taken\'">',
    "\u202eevil \u2067 & <b>bold</b> 'quoted'",
    "[[sample]] {{x}} ${y} \\u003c/script>",
    '=HYPERLINK("http://127.0.0.1:9")',
)


def concept(latent_id: int, confidence: float | None = 0.9, interpretable: bool = True, label: str = "") -> Concept:
    return Concept(latent_id, label or f"label {latent_id}", f"about {latent_id}", confidence, interpretable)


def evidence(latent_id: int, *items: str) -> Evidence:
    """Terms and items that no other latent has, and the given items."""
    own = tuple((f"title-{latent_id}-{place}", (f"feature-{latent_id}",)) for place in range(4))
    return Evidence((f"feature-{latent_id}", f"word-{latent_id}"), own + tuple((item, ()) for item in items))


def sample(concepts: int, number: int, seed: int = 1) -> RatingSample:
    """A sample of concepts of all strata; the first ones have hostile labels, terms and items."""
    drawn = [
        concept(latent, (0.9, 0.7, 0.5, None)[latent % 4], latent % 4 == 0, HOSTILE[latent] if latent < 5 else "")
        for latent in range(concepts)
    ]
    shown = {latent: evidence(latent, *HOSTILE) for latent in range(concepts)}
    return build_sample("planted & <safe>", draw_concepts(drawn, number, seed), shown, seed)
