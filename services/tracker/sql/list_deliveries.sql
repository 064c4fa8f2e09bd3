-- Newest first. A filter that is null is none; planned for each call, so that an index serves it.
SELECT
    (SELECT row_to_json(shown)::text FROM (
        SELECT d.id, d.tenant, d.usr AS "user", d.type, d.key, d.status, d.reason, d.detail,
            d.closed, d.superseded_by, d.attempts, d.channel, d.account, d.provider_ref,
            d.requested_at, d.updated_at, d.delivered_at, d.opened_at, d.clicked_at,
            d.complained_at, d.unsubscribed_at, d.revision) AS shown),
    d.requested_at, d.id
FROM tracker.deliveries AS d
WHERE d.usr IS NOT NULL
    AND (%(tenant)s::text IS NULL OR d.tenant = %(tenant)s)
    AND (%(user)s::text IS NULL OR (left(d.usr, 200) = left(%(user)s, 200) AND d.usr = %(user)s))
    AND (%(key)s::text IS NULL OR (left(d.key, 200) = left(%(key)s, 200) AND d.key = %(key)s))
    AND (%(type)s::text IS NULL OR d.type = %(type)s)
    AND (%(status)s::text IS NULL OR d.status = %(status)s)
    AND (%(before)s::timestamptz IS NULL OR (d.requested_at, d.id) < (%(before)s, %(before_id)s))
ORDER BY d.requested_at DESC, d.id DESC
LIMIT %(limit)s
