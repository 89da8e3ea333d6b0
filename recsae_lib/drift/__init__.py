"""Drift: the latents of two audits matched, and what became of each concept."""
