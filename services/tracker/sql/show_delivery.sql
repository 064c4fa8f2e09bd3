-- One notification and all its entries, as JSON; not one that only a receipt or a cancel named.
SELECT
    (SELECT row_to_json(shown)::text FROM (
        SELECT d.id, d.tenant, d.usr AS "user", d.type, d.key, d.status, d.reason, d.detail,
            d.closed, d.superseded_by, d.attempts, d.channel, d.account, d.provider_ref,
            d.requested_at, d.updated_at, d.delivered_at, d.opened_at, d.clicked_at,
            d.complained_at, d.unsubscribed_at, d.revision) AS shown),
    (SELECT jsonb_agg(event)::text FROM tracker.timeline WHERE notification_id = d.id)
FROM tracker.deliveries AS d
WHERE d.id = %(id)s AND (d.usr IS NOT NULL OR d.closed)
    AND (%(tenant)s::text IS NULL OR d.tenant = %(tenant)s)
