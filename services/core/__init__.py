"""The pure room: events, identifiers, lifecycle and outcome tables, catalogue, errors, ports.

Nothing in here reads a clock, rolls a die or does I/O; import-linter holds it to that.
"""
