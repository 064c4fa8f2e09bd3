"""Hypothesis tries the same examples in every run of CI, and new ones wherever people work.

Unit tests are run all the time, so each law gets few examples; LASTWORD_EXAMPLES asks for more.
"""

import os

from hypothesis import settings

_EXAMPLES = int(os.environ.get("LASTWORD_EXAMPLES", "30"))

# two loaded cores are no sign of a slow test
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=_EXAMPLES)
settings.register_profile("desk", deadline=None, max_examples=_EXAMPLES)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
