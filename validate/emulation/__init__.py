"""Matrix units that round their inputs: what they do, a run as if on one, what to expect of it."""
