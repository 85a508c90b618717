"""`python -m asyncgraph`: the same as the command `asyncgraph`."""

from __future__ import annotations

import sys

from asyncgraph.cli import main

if __name__ == "__main__":
    sys.exit(main())
