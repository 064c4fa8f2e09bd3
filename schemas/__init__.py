"""The Avro contracts: one file per event."""
