-- Each compared row's hash, over its named columns. A delivery's `revision` is none of them: it counts
-- how often the row changed, which depends on how the log fell into batches.
INSERT INTO pg_temp.hashes
SELECT 'deliveries', %(live)s, d.id, NULL, md5(ROW(
    d.tenant, d.usr, d.type, d.key, d.requested_at, d.updated_at, d.status, d.reason, d.detail,
    d.closed, d.superseded_by, d.attempts, d.channel, d.account, d.provider_ref, d.delivered_at,
    d.opened_at, d.clicked_at, d.complained_at, d.unsubscribed_at, d.contradictions)::text)
FROM tracker.deliveries AS d JOIN pg_temp.compared USING (id)
UNION ALL
SELECT 'timeline', %(live)s, t.notification_id, t.event_id, md5(ROW(
    t.at, t.kind, t.event, t.account, t.provider_ref)::text)
FROM tracker.timeline AS t JOIN pg_temp.compared ON id = notification_id
