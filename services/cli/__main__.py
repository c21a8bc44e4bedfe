"""``python -m services.cli``: the command line, for those who start it by the interpreter."""

from services.cli import main

main()
