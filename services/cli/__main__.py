"""``python -m services.cli``: the same as ``lastword``."""

from services.cli.group import main

if __name__ == "__main__":
    main()
