-- How many notifications a recipient gets in a while, of a type or a category. What counts is written
-- at the first grant, under a lock of its recipient, and taken back where nothing was sent in the end.

CREATE OR REPLACE FUNCTION ledger.recipient_of(p_key text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT split_part(p_key, ':', 1) || ':' || split_part(p_key, ':', 2);
$$;

-- Lock the recipients of those requests that are capped, in order: after accounts, before keys.
CREATE OR REPLACE FUNCTION ledger.lock_recipients(requests jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    recipient bigint;
BEGIN
    FOR recipient IN
        SELECT DISTINCT hashtextextended(ledger.recipient_of(r -> 'identity' ->> 'key'), 0)
        FROM jsonb_array_elements(requests) r WHERE jsonb_array_length(r -> 'caps') > 0
        ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(recipient);
    END LOOP;
END $$;

-- Why it would be too many, or null. What was granted before has its place already.
CREATE OR REPLACE FUNCTION ledger.over_cap(n ledger.notifications, caps jsonb, now timestamptz)
RETURNS text LANGUAGE sql STABLE AS $$
    SELECT c ->> 'words' FROM jsonb_array_elements(caps) WITH ORDINALITY x (c, place)
    WHERE NOT EXISTS (SELECT FROM ledger.had h WHERE h.notification_id = n.id)
      AND (SELECT count(*) FROM ledger.had h
           WHERE h.recipient = ledger.recipient_of(n.key) AND h.scope = c ->> 'scope'
             AND h.at > now - ledger.ms((c ->> 'per_ms')::bigint)) >= (c ->> 'most')::integer
    ORDER BY place LIMIT 1;
$$;

CREATE OR REPLACE FUNCTION ledger.count_in(a ledger.attempts, p_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger.had (recipient, scope, notification_id, at)
    SELECT ledger.recipient_of(a.key), s, a.id, p_at FROM unnest(a.scopes) s
    ON CONFLICT DO NOTHING;
$$;

CREATE OR REPLACE FUNCTION ledger.count_out(p_id uuid, closed_as text) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM ledger.had WHERE notification_id = p_id AND closed_as NOT IN ('sent', 'unknown');
$$;
