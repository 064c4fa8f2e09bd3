"""The router: from each request to a proposal, by the catalogue.

Reads ``notifications.requested.<lane>``, writes ``deliveries.queued.<lane>``; moves records that
stand on the wrong lane or partition, and dead-letters what nobody can deliver. It holds no state
that matters and publishes no verdict, so its repeats are harmless.
"""
