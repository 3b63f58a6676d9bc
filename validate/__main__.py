"""``python -m mindport.validate``."""

from mindport.validate.cli import main

main()
