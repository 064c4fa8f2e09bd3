"""``python -m services.tracker``: configured by ``LASTWORD_*`` variables."""

import os
import sys

from services.runtime.process import run_service
from services.tracker.app import serve

if __name__ == "__main__":
    sys.exit(run_service("tracker", serve, os.environ))
