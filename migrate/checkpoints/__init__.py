"""Read and write checkpoints, one file per format."""
