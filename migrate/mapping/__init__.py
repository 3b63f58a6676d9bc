"""Ports that a file describes: which tensor of the source becomes which of the target."""
