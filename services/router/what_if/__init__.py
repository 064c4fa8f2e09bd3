"""What the router would decide by another catalogue, over requests that stand in the log.

Nothing is written anywhere: ``comparing`` decides each request twice, ``tally`` counts, ``work``
reads the log.
"""
