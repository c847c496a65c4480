"""`python -m bench.micro`: what single decisions cost, in microseconds, without a socket."""

import sys

from .router import main

sys.exit(main())
