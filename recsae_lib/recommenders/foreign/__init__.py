"""Recommenders that were trained elsewhere."""
