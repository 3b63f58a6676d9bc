"""Propose a map between two checkpoints of which nothing is known but what they hold."""
