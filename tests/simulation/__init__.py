"""The whole engine in one process under a seeded scheduler that may do it any harm.

The engine's own code runs unchanged; the log, the ledger, the clocks, the network and the providers
are in memory. ``python -m tests.simulation --seed N --trace`` replays one life of it exactly.
"""
