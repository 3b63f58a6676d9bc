"""``python -m mindport.migrate``."""

from mindport.migrate.cli import main

main()
