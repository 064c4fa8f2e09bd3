-- Of those that are not compared, the ones that have a timeline somewhere and no delivery.
SELECT id FROM (
    SELECT notification_id AS id FROM tracker.timeline
    UNION SELECT notification_id FROM pg_temp.timeline) AS known
WHERE NOT EXISTS (SELECT FROM pg_temp.compared AS c WHERE c.id = known.id)
    AND NOT EXISTS (SELECT FROM tracker.deliveries AS d WHERE d.id = known.id)
ORDER BY id
