"""Requests to language models: paid once, answered by one of two transports."""
