"""Task files to begin with: one TOML file each, found by listing the folder."""
