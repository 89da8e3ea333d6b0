"""Concepts: from activations and linked items to evidence, terms, association, coherence and coverage."""
