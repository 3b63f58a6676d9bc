"""Two tensors against each other, bit by bit: all figures in one pass, chunk by chunk."""
