"""The acceptance check of a migration task: what is asked, run, judged, kept and checked again."""
