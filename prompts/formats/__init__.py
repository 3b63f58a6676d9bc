"""Prompt files of other tools, read and written; what cannot be carried over is named."""
