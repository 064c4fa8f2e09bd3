-- The entries that were not known yet, once their rows are locked. A request or a cancel has one
-- line; where it is repeated, the first append counts, of a sound record if there is one,
-- whichever is read first.
INSERT INTO tracker.timeline AS t
    (notification_id, event_id, at, kind, event, account, provider_ref)
SELECT * FROM jsonb_to_recordset(%(lines)s::jsonb) AS line(
    notification_id uuid, event_id uuid, at timestamptz, kind text, event jsonb,
    account text, provider_ref text)
ON CONFLICT (notification_id, event_id) DO UPDATE SET at = excluded.at, event = excluded.event
WHERE t.kind IN ('requested', 'cancel requested')
    AND (coalesce(excluded.event ->> 'cause', '') <> '', excluded.at,
         excluded.event #>> '{origin,topic_id}' COLLATE "C",
         (excluded.event #>> '{origin,partition}')::bigint,
         (excluded.event #>> '{origin,offset}')::bigint)
      < (coalesce(t.event ->> 'cause', '') <> '', t.at,
         t.event #>> '{origin,topic_id}' COLLATE "C",
         (t.event #>> '{origin,partition}')::bigint,
         (t.event #>> '{origin,offset}')::bigint)
RETURNING t.notification_id, t.event_id
