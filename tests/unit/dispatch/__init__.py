"""Statements about dispatch's pure parts."""
