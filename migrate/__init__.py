"""Port weights between PyTorch and MindSpore: names, layouts, dtypes and heads."""
