"""Health: how well each account works, from what became of its attempts.

Reads ``deliveries.attempts`` and ``providers.receipts``, writes ``providers.health`` and metrics. A
Faust app, a process of its own. It owns no promise: its windows are rebuilt from the log, and
without it the router goes by the catalogue alone.
"""
