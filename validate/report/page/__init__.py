"""The HTML page: a template, a style, a script, and its texts in two languages."""
