"""What the suite comes with, as `recsae_conf`: default settings, examples, prompts, queries, Spark properties."""
