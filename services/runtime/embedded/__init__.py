"""Real Kafka and real PostgreSQL as child processes, for machines that have only Python.

They are a default, not a mode: what they give is a set of librdkafka properties and a DSN, the same
that an existing server would be named by. The packages they need are the extra ``embedded``.
"""
