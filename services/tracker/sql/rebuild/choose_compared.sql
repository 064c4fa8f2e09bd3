INSERT INTO pg_temp.compared
SELECT id FROM (
    SELECT notification_id AS id, at FROM tracker.timeline
    UNION ALL SELECT notification_id, at FROM pg_temp.timeline
    UNION ALL SELECT id, requested_at FROM tracker.deliveries
) AS known
GROUP BY id HAVING %(since)s::timestamptz IS NULL OR min(at) >= %(since)s
