"""Raw data of several formats, read by Spark into interactions, items and the rows that were rejected."""
