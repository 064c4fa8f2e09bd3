"""The I/O room: settings, codec, Kafka and PostgreSQL, clock, logs, metrics, embedded parts."""
