"""Prompt tasks, one YAML file each; the folder is the registry."""
