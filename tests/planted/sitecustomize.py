"""Imported by Python itself: plants what the environment names."""

import os

from tests.planted import BUG, HOOKS, LONG_AGO, WRONG_CLOCK

if WRONG_CLOCK in os.environ:
    from tests.planted.clocks import spare_kafka

    spare_kafka()

if LONG_AGO in os.environ:
    from tests.planted.long_ago import write_as_long_ago

    write_as_long_ago()

if BUG in os.environ:
    from tests.planted.bugs import BUGS

    BUGS[os.environ[BUG]]()

if HOOKS in os.environ:
    from tests.planted.hooks import plant

    plant(os.environ[HOOKS])
