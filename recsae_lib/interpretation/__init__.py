"""Interpretation: naming latents, from their terms or by a language model, and judging the names on held-out users."""
