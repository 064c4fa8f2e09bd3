-- A newer revision, noted meanwhile, stays.
DELETE FROM tracker.unpublished AS u
USING jsonb_to_recordset(%(published)s::jsonb) AS p(notification_id uuid, revision bigint)
WHERE u.notification_id = p.notification_id AND u.revision <= p.revision
