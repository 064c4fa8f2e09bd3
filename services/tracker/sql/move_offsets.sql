-- Compare and set. A partition that somebody else has moved meanwhile is not returned.
UPDATE tracker.offsets AS o SET next = m.next
FROM jsonb_to_recordset(%(moves)s::jsonb)
    AS m(topic_id text, partition int, expected bigint, next bigint)
WHERE o.topic_id = m.topic_id AND o.partition = m.partition AND o.next = m.expected
RETURNING o.topic_id, o.partition
