"""Recommenders: the protocol they share, their equations, how they are trained, evaluated, kept and asked for items."""
