"""Learn a prompt on two backends from the same start, and judge whether they learned the same."""
