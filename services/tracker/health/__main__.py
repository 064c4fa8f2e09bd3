"""``python -m services.tracker.health``: configured by ``LASTWORD_*`` variables."""

import os
import sys

from services.runtime.process import run_service
from services.tracker.health.app import serve

if __name__ == "__main__":
    sys.exit(run_service("health", serve, os.environ))
