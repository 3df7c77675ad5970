"""``python -m gsim_jax.cli``: the command line where no script was installed."""

import sys

from gsim_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
