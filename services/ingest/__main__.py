"""``python -m services.ingest``: configured by ``LASTWORD_*`` variables."""

import os
import sys

from services.ingest.app import main

if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
