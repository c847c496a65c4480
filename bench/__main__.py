"""`python -m bench`: the proxies side by side."""

import sys

from .loopback.run import main

sys.exit(main())
