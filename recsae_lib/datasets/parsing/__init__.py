"""From files to raw rows, and from raw values to ids, weights, times and features."""
