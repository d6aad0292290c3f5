"""Data sets: fetched or drawn, read, checked, and kept as arrays."""
