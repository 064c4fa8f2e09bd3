-- Where to go on reading: a partition seen for the first time starts at 0.
WITH asked AS (
    SELECT * FROM jsonb_to_recordset(%(places)s::jsonb)
        AS p(topic_id text, partition int, topic text)
), made AS (
    INSERT INTO tracker.offsets (topic_id, partition, topic, next)
    SELECT topic_id, partition, topic, 0 FROM asked ORDER BY topic_id, partition
    ON CONFLICT DO NOTHING
)
SELECT asked.topic, asked.partition, coalesce(offsets.next, 0)
FROM asked LEFT JOIN tracker.offsets USING (topic_id, partition)
