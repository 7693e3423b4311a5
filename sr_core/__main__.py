"""`python -m sr_core` starts the command line."""

import sys

from sr_core.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
