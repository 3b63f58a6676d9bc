"""Runs on other machines: a case, a recorded side, a job to carry; and judging what came back."""
