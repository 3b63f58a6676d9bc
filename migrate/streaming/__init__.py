"""Weights from file to file: in chunks, by a few threads, in memory that does not grow with them."""
