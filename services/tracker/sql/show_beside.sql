-- What is told beside a notification's own timeline: cancels of its key since it was asked for, what
-- came second under its id, and when the next of its key was asked for.
SELECT
    (SELECT coalesce(jsonb_agg(c.event), '[]')::text FROM (
        SELECT t.event FROM tracker.timeline AS t
        WHERE t.notification_id = %(key_id)s AND t.at >= %(requested_at)s
        ORDER BY t.at LIMIT %(most)s) AS c),
    (SELECT coalesce(jsonb_agg(s.event), '[]')::text FROM (
        SELECT t.event FROM tracker.timeline AS t
        WHERE t.kind = 'closed: dead_lettered' AND t.event ->> 'winner' = %(id)s::text
        ORDER BY t.at LIMIT %(most)s) AS s),
    (SELECT min(d.requested_at) FROM tracker.deliveries AS d
        WHERE d.usr IS NOT NULL AND left(d.key, 200) = left(%(key)s, 200) AND d.key = %(key)s
            AND (d.requested_at, d.id) > (%(requested_at)s, %(id)s))
