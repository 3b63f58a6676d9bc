"""The network's mathematics in NumPy float64, read from the steps of the architecture file."""
