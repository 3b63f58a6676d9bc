"""The validator's own test: faults that it must catch, place and name, and ports it must pass."""
