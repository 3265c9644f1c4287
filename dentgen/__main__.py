"""``python -m dentgen``."""

from dentgen.cli import main

main()
