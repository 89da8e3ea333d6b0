"""One spark-submit entry per step of the audit: read, call the library, write."""
