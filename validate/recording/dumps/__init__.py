"""Dumps of other tools, read as captures that prove nothing of themselves."""
