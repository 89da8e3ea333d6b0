"""Naming latents, from their terms or by a language model."""
