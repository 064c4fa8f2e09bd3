-- The ledger's functions are code, not data: made anew at each start, in the order of their files.
--
-- Order of locks, in every function: accounts by name, keys by key, notifications by id. The time is
-- taken after the last lock, and every decision reads locked rows: at READ COMMITTED each statement
-- of a function sees what was committed before that statement, so nothing is judged on what stood
-- before a wait.

-- The time that everything is decided by. A test may set its own, for its session.
CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(nullif(current_setting('lastword.now', true), '')::timestamptz,
                    clock_timestamp());
$$;

-- The same for who asks from outside.
CREATE OR REPLACE FUNCTION ledger.time() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
    SELECT to_jsonb(ledger.now());
$$;

CREATE OR REPLACE FUNCTION ledger.ms(p_ms bigint) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
    SELECT make_interval(secs => p_ms / 1000.0);
$$;

-- The generation of a topic; a topic id that is new is the next generation of its name.
CREATE OR REPLACE FUNCTION ledger.generation(p_topic_id text, p_topic text) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    found integer;
BEGIN
    SELECT g.generation INTO found FROM ledger.generations g WHERE g.topic_id = p_topic_id;
    IF found IS NULL THEN
        LOCK TABLE ledger.generations IN EXCLUSIVE MODE;
        INSERT INTO ledger.generations (topic_id, topic, generation)
        SELECT p_topic_id, p_topic, coalesce(max(g.generation) + 1, 0)
        FROM ledger.generations g WHERE g.topic = p_topic
        ON CONFLICT (topic_id) DO NOTHING;
        SELECT g.generation INTO found FROM ledger.generations g WHERE g.topic_id = p_topic_id;
    END IF;
    RETURN found;
END $$;

-- Make sure that rows exist for these keys and notifications, and lock them, in order; the time.
-- identities: [{id, key, topic_id, partition, generation, offset, digest}]; without a generation the
-- notification is locked where it is known, and not made. What is idle for a lifetime is purged, so
-- a row may go between being found and being locked: then it is made again.
CREATE OR REPLACE FUNCTION ledger.lock_rows(identities jsonb) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    own_keys text[] := ARRAY(
        SELECT DISTINCT i ->> 'key' FROM jsonb_array_elements(identities) i ORDER BY 1);
    own_ids uuid[] := ARRAY(
        SELECT DISTINCT (i ->> 'id')::uuid FROM jsonb_array_elements(identities) i
        WHERE i ->> 'id' IS NOT NULL);
    made_ids bigint := (SELECT count(DISTINCT i ->> 'id') FROM jsonb_array_elements(identities) i
                        WHERE i ->> 'generation' IS NOT NULL);
    locked bigint;
BEGIN
    LOOP
        INSERT INTO ledger.keys (key, touched_at)
        SELECT k, ledger.now() FROM unnest(own_keys) k
        ON CONFLICT DO NOTHING;
        SELECT count(*) INTO locked FROM (
            SELECT FROM ledger.keys k WHERE k.key = ANY (own_keys)
            ORDER BY k.key FOR UPDATE) x;
        EXIT WHEN locked = cardinality(own_keys);
    END LOOP;
    LOOP
        INSERT INTO ledger.notifications (id, key, topic_id, partition, generation, "offset", digest)
        SELECT DISTINCT ON (i.id) i.id, i.key, i.topic_id, i.partition, i.generation, i."offset",
            coalesce(i.digest, '')
        FROM jsonb_to_recordset(identities) AS i(id uuid, key text, topic_id text,
            partition integer, generation integer, "offset" bigint, digest text)
        WHERE made_ids > 0 AND i.generation IS NOT NULL
        ORDER BY i.id, i.generation, i."offset", i.key, coalesce(i.digest, '')
        ON CONFLICT DO NOTHING;
        SELECT count(*) INTO locked FROM (
            SELECT FROM ledger.notifications n WHERE n.id = ANY (own_ids)
            ORDER BY n.id FOR UPDATE) x;
        EXIT WHEN locked >= made_ids;
    END LOOP;
    RETURN ledger.now();
END $$;

CREATE OR REPLACE FUNCTION ledger.place(n ledger.notifications) RETURNS jsonb LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_build_object('topic_id', n.topic_id, 'partition', n.partition,
                              'offset', n."offset");
$$;

-- The closing of a notification as JSON, or null.
CREATE OR REPLACE FUNCTION ledger.closing(n ledger.notifications) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN n.closed_as IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
        'id', n.id, 'key', n.key, 'origin', ledger.place(n), 'digest', n.digest,
        'reason', n.closed_as,
        'at', n.closed_at, 'detail', n.closed_detail, 'winner', n.winner,
        'winner_origin', CASE WHEN n.winner_offset IS NOT NULL THEN jsonb_build_object(
            'topic_id', n.winner_topic_id, 'partition', n.winner_partition,
            'offset', n.winner_offset) END)) END;
$$;

-- An attempt as JSON: its columns have the names of the struct's fields.
CREATE OR REPLACE FUNCTION ledger.as_json(a ledger.attempts, n ledger.notifications) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT to_jsonb(a) || jsonb_build_object('origin', ledger.place(n), 'digest', n.digest);
$$;

CREATE OR REPLACE FUNCTION ledger.attempts_of(n ledger.notifications) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(ledger.as_json(a, n)
        || jsonb_build_object('gave_up', coalesce(r.gave_up, '')) ORDER BY a.attempt), '[]')
    FROM ledger.attempts a
    LEFT JOIN ledger.receipts r ON r.id = a.id AND r.attempt = a.attempt AND r.account = a.account
    WHERE a.id = n.id;
$$;

CREATE OR REPLACE FUNCTION ledger.notification(p_id uuid) RETURNS ledger.notifications
LANGUAGE sql STABLE AS $$
    SELECT n FROM ledger.notifications n WHERE n.id = p_id;
$$;

CREATE OR REPLACE FUNCTION ledger.raise_floor(n ledger.notifications, p_at timestamptz) RETURNS void
LANGUAGE sql AS $$
    UPDATE ledger.keys SET floor_generation = n.generation, floor_offset = n."offset",
        floor_id = n.id, touched_at = p_at
    WHERE key = n.key AND (floor_generation, floor_offset) < (n.generation, n."offset");
$$;

-- Give a locked notification its verdict, and raise its key's floor. A dead letter was never a valid
-- version of its key, so it raises nothing. What was taken, or may have been, makes another of a
-- verdict which does not say so. What was let go because it was in flight when a newer one came says
-- that, and names it.
CREATE OR REPLACE FUNCTION ledger.put_closing(
    n ledger.notifications, p_reason text, p_detail text, p_winner uuid, p_at timestamptz,
    resolves boolean DEFAULT false
) RETURNS ledger.notifications LANGUAGE plpgsql AS $$
DECLARE
    w ledger.notifications;
BEGIN
    IF n.attempts > 0 AND p_reason <> 'sent' THEN
        SELECT * INTO p_reason, p_detail FROM ledger.in_truth(n, resolves, p_reason, p_detail);
    END IF;
    IF p_reason IN ('sent', 'unknown') AND p_winner IS NULL AND n.newer IS NOT NULL THEN
        p_winner := n.newer;
        p_detail := concat_ws('; ', nullif(p_detail, ''), 'in flight when a newer one came');
    END IF;
    IF p_winner IS NOT NULL THEN
        SELECT * INTO w FROM ledger.notifications t WHERE t.id = p_winner;
    END IF;
    UPDATE ledger.notifications t SET closed_as = p_reason, closed_at = p_at,
        closed_detail = p_detail, winner = p_winner, winner_topic_id = w.topic_id,
        winner_partition = w.partition, winner_offset = w."offset", announced = NOT resolves
    WHERE t.id = n.id RETURNING * INTO n;
    IF p_reason <> 'dead_lettered' THEN
        PERFORM ledger.raise_floor(n, p_at);
    END IF;
    IF n.attempts > 0 THEN
        PERFORM ledger.count_out(n.id, p_reason);
    END IF;
    RETURN n;
END $$;

-- Settle an attempt, and free its key.
CREATE OR REPLACE FUNCTION ledger.put_outcome(
    a ledger.attempts, p_outcome text, p_code text, p_detail text, p_ref text, p_at timestamptz
) RETURNS ledger.attempts LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.attempts t SET outcome = p_outcome, code = p_code, detail = p_detail,
        provider_ref = p_ref, settled_at = p_at
    WHERE t.id = a.id AND t.attempt = a.attempt RETURNING * INTO a;
    UPDATE ledger.keys SET open_claim = NULL, open_until = NULL, touched_at = p_at
    WHERE key = a.key AND open_claim = a.claim_id;
    RETURN a;
END $$;

-- What stands in the way of another attempt or of a verdict: 'busy', 'unknown', 'accepted', or null.
-- An open attempt that is over becomes unknown here: whoever had it can send no more.
CREATE OR REPLACE FUNCTION ledger.standing(n ledger.notifications, p_now timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
BEGIN
    IF n.attempts = 0 THEN
        RETURN NULL;
    END IF;
    SELECT * INTO a FROM ledger.attempts t
    WHERE t.id = n.id AND t.attempt = n.attempts;
    IF a.outcome IS NULL AND p_now < a.over_at THEN
        RETURN 'busy';
    END IF;
    IF a.outcome IS NULL THEN
        a := ledger.put_outcome(a, 'unknown', '', 'its sender vanished', NULL, p_now);
    END IF;
    RETURN CASE WHEN a.outcome IN ('unknown', 'accepted') AND NOT ledger.is_past(a, n, p_now)
                THEN a.outcome END;
END $$;

-- How a notification was cancelled, or null.
CREATE OR REPLACE FUNCTION ledger.cancelled(n ledger.notifications, k ledger.keys) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN n.id = ANY (k.cancelled) THEN 'it was cancelled by its id'
                WHEN (n.generation, n."offset") <= (k.cancel_generation, k.cancel_offset)
                THEN 'its key was cancelled' END;
$$;

-- Why an identity is not that of the notification which has its id, or null.
CREATE OR REPLACE FUNCTION ledger.conflict(n ledger.notifications, identity jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN n.key <> identity ->> 'key' THEN 'its id was used before, for another key'
                WHEN n.digest <> '' AND identity ->> 'digest' <> ''
                     AND n.digest <> identity ->> 'digest'
                THEN 'its id was used before, with another body' END;
$$;

-- Whether a notification is what the identity says, and is still to be sent.
CREATE OR REPLACE FUNCTION ledger.stands(n ledger.notifications, k ledger.keys, identity jsonb)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT n.closed_as IS NULL AND ledger.conflict(n, identity) IS NULL
           AND ledger.cancelled(n, k) IS NULL;
$$;

-- A newer one of its key came while this one is in flight; of several the newest counts.
CREATE OR REPLACE FUNCTION ledger.note_newer(p_id uuid, w ledger.notifications) RETURNS void
LANGUAGE sql AS $$
    UPDATE ledger.notifications t SET newer = w.id
    WHERE t.id = p_id AND t.key = w.key AND t.closed_as IS NULL
      AND (t.generation, t."offset") < (w.generation, w."offset")
      AND NOT EXISTS (SELECT FROM ledger.notifications o WHERE o.id = t.newer
                      AND (o.generation, o."offset") >= (w.generation, w."offset"));
$$;

-- What came second under an id is a dead letter, under the id that its place in the log gives it,
-- and names the first. Where that is its own id it is the same record, under another key by now.
CREATE OR REPLACE FUNCTION ledger.close_second(identity jsonb, why text, now timestamptz)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    own uuid := (identity ->> 'stand_in')::uuid;
BEGIN
    IF own = (identity ->> 'id')::uuid THEN
        RETURN ledger.closing(ledger.notification(own));
    END IF;
    INSERT INTO ledger.notifications (id, key, topic_id, partition, generation, "offset")
    VALUES (own, identity ->> 'key', identity ->> 'topic_id', (identity ->> 'partition')::integer,
        (identity ->> 'generation')::integer, (identity ->> 'offset')::bigint)
    ON CONFLICT DO NOTHING;
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = own FOR UPDATE;
    IF n.closed_as IS NULL THEN
        n := ledger.put_closing(n, 'dead_lettered', why, (identity ->> 'id')::uuid, now);
    END IF;
    RETURN ledger.closing(n);
END $$;
