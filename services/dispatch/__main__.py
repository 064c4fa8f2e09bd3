"""``python -m services.dispatch``: configured by ``LASTWORD_*`` variables."""

import os
import sys

from services.dispatch.app import serve
from services.runtime.process import run_service

if __name__ == "__main__":
    sys.exit(run_service("dispatch", serve, os.environ))
