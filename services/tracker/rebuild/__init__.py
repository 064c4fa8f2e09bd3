"""The tracker's tables made again from the log: to compare with the live ones, or to mend them.

The fold is the tracker's own, on tables of one session; ``work.py`` says what is done in which
order, and how it keeps out of the way of trackers that go on meanwhile.
"""
