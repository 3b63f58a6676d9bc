"""What is shown of a verdict; ``forms/`` has one file per form."""
