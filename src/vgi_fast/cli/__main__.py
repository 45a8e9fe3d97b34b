"""``python -m vgi_fast.cli``: the command line without its script on the path."""

import sys

from vgi_fast.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
