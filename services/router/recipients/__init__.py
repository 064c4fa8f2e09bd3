"""Whom notifications are for: profiles from their topic into the ledger, and out of it again."""
