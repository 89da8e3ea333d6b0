"""Loops and products over the active latents of a row."""
