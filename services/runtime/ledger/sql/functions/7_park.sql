-- What would hold back its partition's offsets is a row here instead, until what became of it is
-- published. Rows of `parked` are locked last, and sorted.

-- Its last attempt is unknown, and nobody knows yet what comes of that.
CREATE OR REPLACE FUNCTION ledger.reconciles(p_id uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ledger.notifications n
                   JOIN ledger.attempts a ON a.id = n.id AND a.attempt = n.attempts
                   WHERE n.id = p_id AND n.closed_as IS NULL AND a.outcome = 'unknown'
                     AND NOT a.ended);
$$;

-- It is not to be sent before a time, and nothing has been decided against it yet.
CREATE OR REPLACE FUNCTION ledger.is_to_wait(r jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM ledger.notifications n JOIN ledger.keys k ON k.key = n.key
        WHERE n.id = (r ->> 'id')::uuid AND r ->> 'not_before' IS NOT NULL
          AND jsonb_typeof(r -> 'identity') = 'object'
          AND ledger.stands(n, k, r -> 'identity')
          AND (n.generation, n."offset") >= (k.floor_generation, k.floor_offset));
$$;

CREATE OR REPLACE FUNCTION ledger.put_parked(rows jsonb, now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger.parked (id, topic, partition, body, due_at)
    SELECT DISTINCT ON (p.id) p.id, r ->> 'topic', (r ->> 'partition')::integer,
        decode(r ->> 'body', 'base64'),
        CASE WHEN ledger.awaited_due(p.id, now) IS NOT NULL THEN ledger.awaited_due(p.id, now)
             WHEN ledger.reconciles(p.id) THEN NULL
             WHEN ledger.is_to_wait(r) THEN greatest(now, (r ->> 'not_before')::timestamptz)
             ELSE now END
    FROM jsonb_array_elements(rows) WITH ORDINALITY AS e(r, place),
        LATERAL (SELECT (r ->> 'id')::uuid AS id) p
    ORDER BY p.id, e.place
    ON CONFLICT (id) DO UPDATE SET topic = excluded.topic, partition = excluded.partition,
        due_at = excluded.due_at;
$$;

-- Park them, on locked rows. One that is to wait counts from now on as if it were claimed: it keeps
-- out what is older, and no repeat of its record gives it more time.
CREATE OR REPLACE FUNCTION ledger.put_away(rows jsonb, now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
    n ledger.notifications;
BEGIN
    FOR r IN SELECT value FROM jsonb_array_elements(rows) LOOP
        CONTINUE WHEN r ->> 'not_before' IS NULL OR NOT ledger.is_to_wait(r);
        UPDATE ledger.notifications t
        SET deadline = least(t.deadline, (r ->> 'deadline')::timestamptz)
        WHERE t.id = (r ->> 'id')::uuid RETURNING * INTO n;
        PERFORM ledger.raise_floor(n, now);
    END LOOP;
    PERFORM ledger.put_parked(rows, now);
END $$;

-- park_each: [{id, topic, partition, body, not_before, identity, deadline}]. One that awaits a receipt waits
-- for that as long as its leg says, one that is unknown until reconciling has ended, one that has a
-- time waits for that and keeps out what is older meanwhile; any other is due at once. What comes
-- second under its id is not kept: in order, whether each is.
CREATE OR REPLACE FUNCTION ledger.park_each(rows jsonb) RETURNS SETOF boolean LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT (r ->> 'id')::uuid FROM jsonb_array_elements(rows) r);
    now timestamptz;
BEGIN
    PERFORM ledger.require_life();
    now := ledger.lock_rows((
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'key', n.key)), '[]')
        FROM ledger.notifications n WHERE n.id = ANY (ids))
        || jsonb_path_query_array(rows, '$[*].identity ? (@.type() == "object")'));
    PERFORM ledger.put_away(ledger.first_of(rows), now);
    RETURN QUERY SELECT NOT ledger.is_second(r) FROM jsonb_array_elements(rows)
                 WITH ORDINALITY x (r, place) ORDER BY place;
END $$;

-- Whether its id stands for another body, or another key.
CREATE OR REPLACE FUNCTION ledger.is_second(r jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT jsonb_typeof(r -> 'identity') = 'object' AND EXISTS (
        SELECT FROM ledger.notifications n WHERE n.id = (r ->> 'id')::uuid
        AND ledger.conflict(n, r -> 'identity') IS NOT NULL);
$$;

CREATE OR REPLACE FUNCTION ledger.first_of(rows jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(r ORDER BY place), '[]')
    FROM jsonb_array_elements(rows) WITH ORDINALITY x (r, place) WHERE NOT ledger.is_second(r);
$$;

-- resume: what is due of [[topic, partition]], up to `most`; not again before `lease_ms` are over.
CREATE OR REPLACE FUNCTION ledger.resume(partitions jsonb, most integer, lease_ms integer)
RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := ledger.now();
BEGIN
    PERFORM ledger.require_life();
    RETURN QUERY
        WITH due AS (
            SELECT p.id, p.due_at FROM ledger.parked p
            JOIN (SELECT e ->> 0 AS topic, (e ->> 1)::integer AS partition
                  FROM jsonb_array_elements(partitions) e) own USING (topic, partition)
            WHERE p.due_at <= now
            ORDER BY p.due_at, p.id LIMIT most FOR UPDATE OF p SKIP LOCKED
        ), taken AS (
            UPDATE ledger.parked p SET due_at = now + ledger.ms(lease_ms)
            FROM due WHERE p.id = due.id
            RETURNING ledger.as_json(p) AS parked, due.due_at, p.id
        )
        SELECT t.parked FROM taken t ORDER BY t.due_at, t.id;
END $$;

CREATE OR REPLACE FUNCTION ledger.as_json(p ledger.parked) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('id', p.id, 'topic', p.topic, 'partition', p.partition,
                              'body', translate(encode(p.body, 'base64'), E'\n', ''));
$$;

-- parked: of these ids.
CREATE OR REPLACE FUNCTION ledger.parked_of(ids jsonb) RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT ledger.as_json(p) FROM ledger.parked p
    WHERE p.id IN (SELECT value::uuid FROM jsonb_array_elements_text(ids)) ORDER BY p.id;
$$;

CREATE OR REPLACE FUNCTION ledger.unpark(ids jsonb) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    gone uuid[] := ARRAY(
        SELECT p.id FROM ledger.parked p
        WHERE p.id IN (SELECT value::uuid FROM jsonb_array_elements_text(ids))
        ORDER BY p.id FOR UPDATE);
BEGIN
    DELETE FROM ledger.parked WHERE id = ANY (gone);
    RETURN cardinality(gone);
END $$;

-- Reconciling has ended: it goes on. False where it is not parked, so that nobody would.
CREATE OR REPLACE FUNCTION ledger.make_due(p_id uuid, now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.parked SET due_at = now WHERE id = p_id;
    RETURN FOUND;
END $$;
