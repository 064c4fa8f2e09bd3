"""Ingest: HTTP in, ``notifications.requested.<lane>`` out.

A request is judged by its type's rules, appended with acks=all, and answered 202 with its id and
key. It needs Kafka alone, keeps nothing, and asks nobody: what became of a request is read at the
tracker.
"""
