"""Turn a labelled data set into prompts and score what a model answers."""
