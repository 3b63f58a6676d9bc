"""The small trained models that ship with the package, one folder each."""
