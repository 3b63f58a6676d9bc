"""What a report draws: one file per chart, each a Vega-Lite specification made from a verdict.

Colours are CSS variables (``style.css`` of the page has them), so one drawing serves a light and a
dark page. There are no words in a drawing but names and numbers: the words stand around it, in the
reader's language.
"""
