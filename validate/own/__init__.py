"""A port that a user wrote: build it, call it, find its taps, and look for the weights in it."""
