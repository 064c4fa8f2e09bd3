-- Topics of which there was an earlier one, whose records are gone.
SELECT DISTINCT topic FROM tracker.offsets
WHERE topic = ANY (%(topics)s) AND next > 0 AND NOT topic_id = ANY (%(topic_ids)s)
