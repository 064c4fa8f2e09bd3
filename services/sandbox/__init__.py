"""Every provider's API and webhooks over real HTTP, with faults by script and a ledger of its own.

It is a part of the product: what ``lastword up`` sends to by default, a double for users' tests,
and the oracle that counts what was accepted. It keeps all in memory, binds loopback only, and calls
no webhook that is not on loopback.
"""
