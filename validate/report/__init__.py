"""Ways to show a verdict, one file per form."""
