"""``python -m services.router``: configured by ``LASTWORD_*`` variables."""

import os
import sys

from services.router.app import serve
from services.runtime.process import run_service

if __name__ == "__main__":
    sys.exit(run_service("router", serve, os.environ))
