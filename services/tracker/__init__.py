"""The tracker: what became of each notification, and where providers report it.

Reads ``notifications.requested.*``, ``deliveries.attempts`` and ``providers.receipts``; writes
``providers.receipts`` (from webhooks), ``deliveries.state`` and the tables of the schema
``tracker``.
"""
