"""Run one case on two backends and judge whether they agree."""
