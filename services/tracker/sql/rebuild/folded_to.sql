-- How far the live tables are, by topic and partition.
SELECT topic, partition, next FROM tracker.offsets WHERE topic_id = ANY (%(topic_ids)s)
