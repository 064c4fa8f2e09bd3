"""The router: from each request to a proposal, by the catalogue and by how accounts are doing.

Reads ``notifications.requested.<lane>`` and ``providers.health``, writes
``deliveries.queued.<lane>``; moves records that stand on the wrong lane or partition, and
dead-letters what nobody can deliver. It holds no state that matters and publishes no verdict, so
its repeats are harmless.
"""
