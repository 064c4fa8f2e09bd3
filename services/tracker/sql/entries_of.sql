-- All entries of some notifications, as one JSON list.
SELECT coalesce(jsonb_agg(event), '[]')::text
FROM tracker.timeline WHERE notification_id = ANY (%(ids)s::uuid[])
