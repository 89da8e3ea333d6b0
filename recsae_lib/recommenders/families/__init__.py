"""The recommenders that the suite trains."""
