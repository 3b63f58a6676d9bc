"""Certified parity: which labels no numeric error of the size measured can change."""

from mindport.prompts.parity.bounds import GapBound, prior_gaps, reach
from mindport.prompts.parity.certification import Certification, Flip, certify, hardest
from mindport.prompts.parity.evidence import (
    LEVELS,
    Answers,
    Control,
    Floor,
    Level,
    Loads,
    Requirements,
)
from mindport.prompts.parity.ladder import PromptParity, compare_scores
from mindport.prompts.parity.power import Power
from mindport.prompts.parity.rows import RowFacts, measure_rows, row_errors

__all__ = [
    "LEVELS",
    "Answers",
    "Certification",
    "Control",
    "Flip",
    "Floor",
    "GapBound",
    "Level",
    "Loads",
    "Power",
    "PromptParity",
    "Requirements",
    "RowFacts",
    "certify",
    "compare_scores",
    "hardest",
    "measure_rows",
    "prior_gaps",
    "reach",
    "row_errors",
]
