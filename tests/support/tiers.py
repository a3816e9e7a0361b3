"""Whether the tests are to try as much as they can: RELIABILITY=long."""

import os

LONG = os.environ.get("RELIABILITY") == "long"
