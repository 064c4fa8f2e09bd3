"""Delivered once: the ledger, the unknown, and every fault survived."""
