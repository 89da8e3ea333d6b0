"""The command `recsae`."""
