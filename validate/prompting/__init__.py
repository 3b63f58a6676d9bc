"""Prompts on two backends: what is asked, what came back, and whether both answer alike."""
