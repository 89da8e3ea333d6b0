"""The formats that raw data come in."""
