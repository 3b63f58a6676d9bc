"""What runs a case, one file per framework; the framework is imported inside."""
