"""The pytest plugin: fixtures with which a test says what was sent, with nothing running."""
