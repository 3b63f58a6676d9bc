"""Why a tap is wrong: hypotheses, tested on the data."""
