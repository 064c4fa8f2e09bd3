-- What changed gets a new revision, and is noted for publishing once it is known whom it is to.
WITH folded AS (
    SELECT * FROM jsonb_to_recordset(%(deliveries)s::jsonb) AS f(
        id uuid, tenant text, "user" text, type text, key text,
        requested_at timestamptz, updated_at timestamptz, status text, reason text, detail text,
        closed boolean, superseded_by uuid, attempts bigint, channel text, account text,
        provider_ref text, delivered_at timestamptz, opened_at timestamptz,
        clicked_at timestamptz, complained_at timestamptz, unsubscribed_at timestamptz,
        contradictions int)
), changed AS (
    UPDATE tracker.deliveries AS d SET
        tenant = f.tenant, usr = f."user", type = f.type, key = f.key,
        requested_at = f.requested_at, updated_at = f.updated_at,
        status = f.status, reason = f.reason, detail = f.detail, closed = f.closed,
        superseded_by = f.superseded_by, attempts = f.attempts, channel = f.channel,
        account = f.account, provider_ref = f.provider_ref, delivered_at = f.delivered_at,
        opened_at = f.opened_at, clicked_at = f.clicked_at, complained_at = f.complained_at,
        unsubscribed_at = f.unsubscribed_at, contradictions = f.contradictions,
        revision = d.revision + 1
    FROM folded AS f
    WHERE d.id = f.id AND (
        d.tenant, d.usr, d.type, d.key, d.requested_at, d.updated_at, d.status, d.reason,
        d.detail, d.closed, d.superseded_by, d.attempts, d.channel, d.account, d.provider_ref,
        d.delivered_at, d.opened_at, d.clicked_at, d.complained_at, d.unsubscribed_at,
        d.contradictions
    ) IS DISTINCT FROM (
        f.tenant, f."user", f.type, f.key, f.requested_at, f.updated_at, f.status, f.reason,
        f.detail, f.closed, f.superseded_by, f.attempts, f.channel, f.account, f.provider_ref,
        f.delivered_at, f.opened_at, f.clicked_at, f.complained_at, f.unsubscribed_at,
        f.contradictions)
    RETURNING d.id, d.revision, d.usr
)
INSERT INTO tracker.unpublished AS u (notification_id, revision)
SELECT id, revision FROM changed WHERE usr IS NOT NULL ORDER BY id
ON CONFLICT (notification_id) DO UPDATE SET revision = excluded.revision
RETURNING notification_id, revision
