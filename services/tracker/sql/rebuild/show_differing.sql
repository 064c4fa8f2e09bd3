-- The first that differ: their deliveries, live and from the log, and the lines of both timelines.
SELECT json_build_object(
    'id', x.id,
    'live', (SELECT to_jsonb(d) - 'id' - 'revision' FROM tracker.deliveries AS d WHERE d.id = x.id),
    'from_log', (
        SELECT to_jsonb(d) - 'id' - 'revision' FROM pg_temp.deliveries AS d WHERE d.id = x.id),
    'live_lines', (
        SELECT coalesce(jsonb_object_agg(event_id, to_jsonb(t)), '{}') FROM tracker.timeline AS t
        WHERE t.notification_id = x.id),
    'lines_from_log', (
        SELECT coalesce(jsonb_object_agg(event_id, to_jsonb(t)), '{}') FROM pg_temp.timeline AS t
        WHERE t.notification_id = x.id))::text
FROM pg_temp.differing AS x ORDER BY x.id LIMIT %(most)s
