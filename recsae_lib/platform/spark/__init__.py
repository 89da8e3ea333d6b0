"""Spark: sessions, Python workers, frames, files on executors."""
