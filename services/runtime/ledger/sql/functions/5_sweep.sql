-- The sweeper's: what no sender will settle, and no record of the log leads to again.

-- Attempts that nobody can still be sending become unknown; as JSON. A maker whose answer was lost
-- while the server was away is given `grace_ms` to ask again first.
CREATE OR REPLACE FUNCTION ledger.abandon(most integer, grace_ms integer) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    found jsonb;
BEGIN
    PERFORM ledger.require_life();
    IF ledger.now() < (SELECT l.confirmed_at FROM ledger.lives l WHERE l.life = ledger.life())
                      + ledger.ms(grace_ms) THEN
        RETURN;
    END IF;
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'key', a.key)), '[]')
    INTO found FROM (SELECT * FROM ledger.attempts t WHERE t.outcome IS NULL
                     AND t.over_at < ledger.now()
                     ORDER BY t.over_at, t.id LIMIT most) a;
    now := ledger.lock_rows(found);
    PERFORM ledger.abandon_one((f ->> 'id')::uuid, now) FROM jsonb_array_elements(found) f;
    -- a statement of its own: it sees what abandon_one() has just written
    RETURN QUERY SELECT ledger.as_json(a, n) FROM ledger.attempts a
        JOIN ledger.notifications n ON n.id = a.id AND n.attempts = a.attempt
        WHERE a.outcome = 'unknown'
          AND n.id IN (SELECT (f ->> 'id')::uuid FROM jsonb_array_elements(found) f)
        ORDER BY a.over_at, n.id;
END $$;

CREATE OR REPLACE FUNCTION ledger.abandon_one(p_id uuid, now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications := ledger.notification(p_id);
    a ledger.attempts;
BEGIN
    PERFORM ledger.standing(n, now);
    SELECT * INTO a FROM ledger.attempts t WHERE t.id = n.id AND t.attempt = n.attempts;
    IF a.outcome = 'unknown' AND n.taken AND n.closed_as IS NULL THEN
        PERFORM ledger.put_closing(n, 'sent', 'an earlier attempt was taken', NULL, now, true);
    ELSIF a.outcome = 'unknown' THEN
        PERFORM ledger.heed(n, a, now, true);
    END IF;
END $$;

-- Unknown attempts of notifications that nobody has closed, the oldest first. One that is proved to be
-- taken waits for nothing but its receipt.
CREATE OR REPLACE FUNCTION ledger.unresolved(most integer) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('identity', jsonb_build_object('id', n.id, 'key', n.key,
               'origin', ledger.place(n), 'digest', n.digest),
           'attempt', ledger.as_json(a, n))
    FROM ledger.attempts a JOIN ledger.notifications n ON n.id = a.id
    WHERE a.outcome = 'unknown' AND n.closed_as IS NULL
      AND NOT (a.falls_back AND (ledger.receipt_of(a)).id IS NOT NULL)
    ORDER BY a.settled_at, n.id, a.attempt LIMIT most;
$$;

-- Verdicts that nobody is known to have published, with their attempts.
CREATE OR REPLACE FUNCTION ledger.unannounced(most integer) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('closing', ledger.closing(n), 'attempts', ledger.attempts_of(n))
    FROM ledger.notifications n WHERE NOT n.announced ORDER BY n.closed_at, n.id LIMIT most;
$$;

CREATE OR REPLACE FUNCTION ledger.announce(ids jsonb) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    told uuid[] := ARRAY(
        SELECT n.id FROM ledger.notifications n
        WHERE n.id IN (SELECT value::uuid FROM jsonb_array_elements_text(ids))
        ORDER BY n.id FOR UPDATE);
BEGIN
    UPDATE ledger.notifications SET announced = true WHERE id = ANY (told);
    PERFORM ledger.unpark(to_jsonb(told));
    RETURN cardinality(told);
END $$;

-- Forget up to `most` notifications that ended a lifetime ago, and as many keys of which nothing was
-- decided for as long, and receipts that are as old; how many. A record that is older is closed as
-- expired at its claim, so none of these is ever asked for again. Nothing here waits for a lock, so
-- the order of locks is kept.
CREATE OR REPLACE FUNCTION ledger.purge(lifetime_ms bigint, most integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz := ledger.now() - ledger.ms(lifetime_ms);
    gone uuid[];
    idle text[];
    old integer;
BEGIN
    PERFORM ledger.require_life();
    gone := ARRAY(SELECT n.id FROM ledger.notifications n
                  WHERE n.closed_at < before AND n.announced LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM ledger.attempts WHERE id = ANY (gone);
    DELETE FROM ledger.parked WHERE id = ANY (gone);
    DELETE FROM ledger.notifications WHERE id = ANY (gone);
    idle := ARRAY(SELECT k.key FROM ledger.keys k WHERE k.touched_at < before
                    AND (k.open_until IS NULL OR k.open_until < before)
                  LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM ledger.keys WHERE key = ANY (idle);
    DELETE FROM ledger.digests WHERE id IN (
        SELECT d.id FROM ledger.digests d WHERE d.at < before
        ORDER BY d.at LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM ledger.had WHERE (recipient, scope, notification_id) IN (
        SELECT h.recipient, h.scope, h.notification_id FROM ledger.had h WHERE h.at < before
        ORDER BY h.at LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM ledger.receipts WHERE (id, attempt, account) IN (
        SELECT r.id, r.attempt, r.account FROM ledger.receipts r WHERE r.received_at < before
        ORDER BY r.received_at LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS old = ROW_COUNT;
    RETURN cardinality(gone) + cardinality(idle) + old;
END $$;
