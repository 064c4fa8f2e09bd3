"""Hypothesis tries the same examples in every run of CI, and new ones wherever people work."""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
# two loaded cores are no sign of a slow test
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
