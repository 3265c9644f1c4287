"""``python -m dentgen``."""

from dentgen.cli.app import main

main()
