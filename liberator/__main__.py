"""``python -m liberator``: the command `liberate` without its script."""

import sys

from liberator.cli import main

sys.exit(main())
