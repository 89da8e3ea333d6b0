"""Turning concepts: what a latent does to the output, moved representations, and what the move does to the lists."""
