"""The ledger on PostgreSQL: its tables and functions in ``sql/``, and the shell that calls them.

Dispatch claims, settles and closes; the tracker's sweeper closes what nobody else will.
"""
