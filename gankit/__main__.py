"""``python -m gankit``."""

import sys

from gankit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
