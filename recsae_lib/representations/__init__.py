"""Representations: where they lie, how Spark extracts and writes them, how training reads them."""
