"""Dispatch: sends each notification once, by the account that can, before its deadline.

Reads ``deliveries.queued.<lane>`` ahead into a table by supersession key, claims each send in the
ledger, writes ``deliveries.attempts``. Only the ledger's answers are published.
"""
