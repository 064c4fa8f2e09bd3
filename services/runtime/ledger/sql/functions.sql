-- The ledger's functions, made anew at each start.
--
-- Order of locks, in every function: keys by key, then notifications by id. The time is taken after
-- the last lock, and every decision reads locked rows: at READ COMMITTED each statement of a function
-- sees what was committed before that statement, so nothing is judged on what stood before a wait.

-- The time that everything is decided by. A test may set its own, for its session.
CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(nullif(current_setting('lastword.now', true), '')::timestamptz,
                    clock_timestamp());
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

-- Make sure that rows exist for these keys and notifications, and lock them, in order.
-- identities: [{id, key, topic_id, partition, generation, offset}]; without a generation the
-- notification is locked where it is known, and not made.
CREATE OR REPLACE FUNCTION ledger.lock_rows(identities jsonb) RETURNS timestamptz
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.keys (key)
    SELECT DISTINCT i.key FROM jsonb_to_recordset(identities) AS i(key text) ORDER BY i.key
    ON CONFLICT DO NOTHING;
    PERFORM 1 FROM ledger.keys k
    WHERE k.key IN (SELECT i.key FROM jsonb_to_recordset(identities) AS i(key text))
    ORDER BY k.key FOR UPDATE;
    INSERT INTO ledger.notifications (id, key, topic_id, partition, generation, "offset")
    SELECT DISTINCT ON (i.id) i.id, i.key, i.topic_id, i.partition, i.generation, i."offset"
    FROM jsonb_to_recordset(identities) AS i(id uuid, key text, topic_id text, partition integer,
                                             generation integer, "offset" bigint)
    WHERE i.generation IS NOT NULL
    ORDER BY i.id, i.generation, i."offset", i.key
    ON CONFLICT DO NOTHING;
    PERFORM 1 FROM ledger.notifications n
    WHERE n.id IN (SELECT i.id FROM jsonb_to_recordset(identities) AS i(id uuid))
    ORDER BY n.id FOR UPDATE;
    RETURN ledger.now();
END $$;

-- Give a locked notification its verdict, and raise its key's floor. A dead letter was never a valid
-- version of its key, so it raises nothing.
CREATE OR REPLACE FUNCTION ledger.put_closing(
    n ledger.notifications, p_reason text, p_detail text, p_winner uuid, p_at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.notifications t SET closed_as = p_reason, closed_at = p_at,
        closed_detail = p_detail, winner = p_winner WHERE t.id = n.id;
    IF p_winner IS NOT NULL THEN
        UPDATE ledger.notifications t SET winner_topic_id = w.topic_id,
            winner_partition = w.partition, winner_offset = w."offset"
        FROM ledger.notifications w WHERE t.id = n.id AND w.id = p_winner;
    END IF;
    IF p_reason <> 'dead_lettered' THEN
        PERFORM ledger.raise_floor(n);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.raise_floor(n ledger.notifications) RETURNS void
LANGUAGE sql AS $$
    UPDATE ledger.keys
    SET floor_generation = n.generation, floor_offset = n."offset", floor_id = n.id
    WHERE key = n.key AND (floor_generation, floor_offset) < (n.generation, n."offset");
$$;

-- The closing of a notification as JSON, or null.
CREATE OR REPLACE FUNCTION ledger.closing(p_id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', n.id, 'key', n.key, 'reason', n.closed_as, 'at', n.closed_at,
        'detail', n.closed_detail, 'winner', n.winner,
        'winner_origin', CASE WHEN n.winner_offset IS NOT NULL THEN jsonb_build_object(
            'topic_id', n.winner_topic_id, 'partition', n.winner_partition,
            'offset', n.winner_offset) END))
    FROM ledger.notifications n
    WHERE n.id = p_id AND n.closed_as IS NOT NULL;
$$;

CREATE OR REPLACE FUNCTION ledger.as_json(a ledger.attempts) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', a.notification_id, 'key', a.key, 'attempt', a.attempt, 'claim_id', a.claim_id,
        'leg', a.leg, 'channel', a.channel, 'account', a.account, 'claimed_at', a.claimed_at,
        'send_by', a.send_by, 'over_at', a.over_at, 'sequence', a.sequence, 'reason', a.reason, 'outcome', a.outcome,
        'settled_at', a.settled_at, 'code', a.code, 'detail', a.detail,
        'provider_ref', a.provider_ref));
$$;

CREATE OR REPLACE FUNCTION ledger.attempts_of(p_id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(ledger.as_json(a) ORDER BY a.attempt), '[]')
    FROM ledger.attempts a WHERE a.notification_id = p_id;
$$;

-- What stands in the way of another attempt or of a verdict: 'busy', 'unknown', 'accepted', or null.
-- An open attempt that is over becomes unknown here: whoever had it can send no more.
CREATE OR REPLACE FUNCTION ledger.standing(p_id uuid, p_now timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
BEGIN
    SELECT * INTO a FROM ledger.attempts t WHERE t.notification_id = p_id
    ORDER BY t.attempt DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF a.outcome IS NULL AND p_now < a.over_at THEN
        RETURN 'busy';
    END IF;
    IF a.outcome IS NULL THEN
        PERFORM ledger.put_outcome(a, 'unknown', '', 'its sender vanished', NULL, p_now);
        RETURN 'unknown';
    END IF;
    RETURN CASE WHEN a.outcome IN ('unknown', 'accepted') THEN a.outcome END;
END $$;

CREATE OR REPLACE FUNCTION ledger.put_outcome(
    a ledger.attempts, p_outcome text, p_code text, p_detail text, p_ref text, p_at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.attempts SET outcome = p_outcome, code = p_code, detail = p_detail,
        provider_ref = p_ref, settled_at = p_at
    WHERE notification_id = a.notification_id AND attempt = a.attempt;
    UPDATE ledger.keys SET open_claim = NULL, open_until = NULL
    WHERE key = a.key AND open_claim = a.claim_id;
END $$;

-- claim: requests as [{claim_id, identity, attempt, leg, channel, account, deadline, lease_ms,
-- timeout_ms, reason, losers: [identity]}]; an answer a request, in order.
CREATE OR REPLACE FUNCTION ledger.claim(requests jsonb, margin_ms integer) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    r jsonb;
BEGIN
    now := ledger.lock_rows(jsonb_path_query_array(requests, '$[*].identity')
                            || jsonb_path_query_array(requests, '$[*].losers[*]'));
    FOR r IN SELECT value FROM jsonb_array_elements(requests) LOOP
        RETURN NEXT ledger.claim_one(r, margin_ms, now)
                    || jsonb_build_object('claim_id', r ->> 'claim_id');
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.claim_one(r jsonb, margin_ms integer, now timestamptz)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    k ledger.keys;
    standing text;
    cancelled text;
    deadline timestamptz := (r ->> 'deadline')::timestamptz;
BEGIN
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = (r -> 'identity' ->> 'id')::uuid;
    IF n.key <> r -> 'identity' ->> 'key' THEN
        RETURN '{"refused": "conflict"}';
    END IF;
    IF n.closed_as IS NOT NULL THEN
        RETURN ledger.refuse_closed(n.id);
    END IF;
    -- the answer to an earlier call was lost: say it again
    IF EXISTS (SELECT 1 FROM ledger.attempts a WHERE a.notification_id = n.id
               AND a.claim_id = (r ->> 'claim_id')::uuid AND a.outcome IS NULL) THEN
        RETURN ledger.granted(n.id, now);
    END IF;
    standing := ledger.standing(n.id, now);
    -- read after standing(), which may have freed the key
    SELECT * INTO k FROM ledger.keys t WHERE t.key = n.key;
    IF standing IN ('unknown', 'accepted') THEN
        RETURN jsonb_build_object('refused', 'unknown', 'attempts', ledger.attempts_of(n.id));
    END IF;
    IF k.open_claim IS NOT NULL AND now < k.open_until THEN
        RETURN jsonb_build_object('refused', 'busy', 'retry_at', k.open_until);
    END IF;
    IF n.attempts + 1 <> (r ->> 'attempt')::integer THEN
        RETURN jsonb_build_object('refused', 'history', 'attempts', ledger.attempts_of(n.id));
    END IF;
    cancelled := ledger.cancelled(n, k);
    IF cancelled IS NOT NULL THEN
        PERFORM ledger.put_closing(n, 'cancelled', cancelled, NULL, now);
        RETURN ledger.refuse_closed(n.id);
    END IF;
    IF (n.generation, n."offset") < (k.floor_generation, k.floor_offset) THEN
        PERFORM ledger.put_closing(n, 'superseded', 'a newer one went first', k.floor_id, now);
        RETURN ledger.refuse_closed(n.id);
    END IF;
    IF now + make_interval(secs => margin_ms / 1000.0) > deadline THEN
        PERFORM ledger.put_closing(n, 'expired', 'its deadline came first', NULL, now);
        RETURN ledger.refuse_closed(n.id);
    END IF;
    PERFORM ledger.grant_claim(n, r, deadline, now);
    RETURN ledger.granted(n.id, now)
           || jsonb_build_object('closings', ledger.close_losers(n, r -> 'losers', now));
END $$;

-- How a notification was cancelled, or null.
CREATE OR REPLACE FUNCTION ledger.cancelled(n ledger.notifications, k ledger.keys) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN n.id = ANY (k.cancelled) THEN 'it was cancelled by its id'
                WHEN (n.generation, n."offset") <= (k.cancel_generation, k.cancel_offset)
                THEN 'its key was cancelled' END;
$$;

CREATE OR REPLACE FUNCTION ledger.grant_claim(
    n ledger.notifications, r jsonb, deadline timestamptz, now timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    send_by timestamptz := least(
        now + make_interval(secs => (r ->> 'lease_ms')::integer / 1000.0), deadline);
    over_at timestamptz := send_by + make_interval(secs => (r ->> 'timeout_ms')::integer / 1000.0);
BEGIN
    INSERT INTO ledger.attempts (notification_id, attempt, claim_id, key, leg, channel, account,
        reason, claimed_at, send_by, over_at, sequence)
    VALUES (n.id, n.attempts + 1, (r ->> 'claim_id')::uuid, n.key, (r ->> 'leg')::integer,
        r ->> 'channel', r ->> 'account', r ->> 'reason', now, send_by, over_at,
        nextval('ledger.grants'));
    UPDATE ledger.notifications SET attempts = n.attempts + 1 WHERE id = n.id;
    PERFORM ledger.raise_floor(n);
    UPDATE ledger.keys SET open_claim = (r ->> 'claim_id')::uuid, open_until = over_at
    WHERE key = n.key;
END $$;

-- Close the older ones that a granted claim supersedes. One whose own attempt is accepted or unknown
-- keeps that: it is not here to be closed.
CREATE OR REPLACE FUNCTION ledger.close_losers(
    winner ledger.notifications, losers jsonb, now timestamptz
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    closings jsonb := '[]';
BEGIN
    FOR n IN SELECT t.* FROM ledger.notifications t
             WHERE t.id IN (SELECT (l ->> 'id')::uuid FROM jsonb_array_elements(losers) l)
               AND t.key = winner.key AND t.id <> winner.id
             ORDER BY t.generation, t."offset", t.id
    LOOP
        IF n.closed_as IS NULL AND ledger.standing(n.id, now) IS NULL
           AND (n.generation, n."offset") < (winner.generation, winner."offset") THEN
            PERFORM ledger.put_closing(n, 'superseded', 'a newer one took its place',
                                       winner.id, now);
        END IF;
        closings := closings || coalesce(jsonb_build_array(ledger.closing(n.id)), '[]');
    END LOOP;
    RETURN jsonb_path_query_array(closings, '$[*] ? (@ != null)');
END $$;

CREATE OR REPLACE FUNCTION ledger.refuse_closed(p_id uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('refused', 'closed',
        'closings', jsonb_build_array(ledger.closing(p_id)), 'attempts', ledger.attempts_of(p_id));
$$;

CREATE OR REPLACE FUNCTION ledger.granted(p_id uuid, now timestamptz) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('attempts', ledger.attempts_of(p_id), 'lease_left_ms',
        (SELECT greatest(0, floor(1000 * extract(epoch FROM a.send_by - now)))::integer
         FROM ledger.attempts a WHERE a.notification_id = p_id ORDER BY a.attempt DESC LIMIT 1));
$$;

-- settle: [{claim_id, outcome: {kind, code, detail, provider_ref}, verdict, verdict_detail}]; an
-- answer a settlement, in order. A claim that another has called unknown meanwhile stays so, unless
-- its own sender now knows that it was accepted.
CREATE OR REPLACE FUNCTION ledger.settle(settlements jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    s jsonb;
BEGIN
    now := ledger.lock_rows((SELECT coalesce(jsonb_agg(jsonb_build_object(
            'id', a.notification_id, 'key', a.key, 'topic_id', n.topic_id, 'partition', n.partition,
            'generation', n.generation, 'offset', n."offset")), '[]')
        FROM ledger.attempts a JOIN ledger.notifications n ON n.id = a.notification_id
        WHERE a.claim_id IN (SELECT (e ->> 'claim_id')::uuid
                             FROM jsonb_array_elements(settlements) e)));
    FOR s IN SELECT value FROM jsonb_array_elements(settlements) LOOP
        RETURN NEXT ledger.settle_one(s, now)
                    || jsonb_build_object('claim_id', s ->> 'claim_id');
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.settle_one(s jsonb, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    n ledger.notifications;
    kind text := s -> 'outcome' ->> 'kind';
    verdict text := s ->> 'verdict';
BEGIN
    SELECT * INTO a FROM ledger.attempts t WHERE t.claim_id = (s ->> 'claim_id')::uuid;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = a.notification_id;
    IF a.outcome IS NULL THEN
        PERFORM ledger.put_outcome(a, kind, coalesce(s -> 'outcome' ->> 'code', ''),
            coalesce(s -> 'outcome' ->> 'detail', ''), s -> 'outcome' ->> 'provider_ref', now);
        verdict := CASE WHEN kind = 'accepted' THEN 'sent'
                        WHEN kind <> 'unknown' THEN verdict END;
    ELSIF a.outcome = 'unknown' AND kind = 'accepted' THEN
        verdict := 'sent';
    ELSE
        verdict := NULL;
    END IF;
    IF n.closed_as IS NULL AND verdict IS NOT NULL THEN
        PERFORM ledger.put_closing(n, verdict, coalesce(s ->> 'verdict_detail', ''), NULL, now);
    END IF;
    SELECT * INTO a FROM ledger.attempts t WHERE t.claim_id = a.claim_id;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'attempt', ledger.as_json(a), 'closing', ledger.closing(n.id)));
END $$;

-- close: [{identity, reason, detail, winner, resolves}]; a closing or null a verdict, in order.
CREATE OR REPLACE FUNCTION ledger.close(verdicts jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    v jsonb;
BEGIN
    now := ledger.lock_rows(jsonb_path_query_array(verdicts, '$[*].identity'));
    FOR v IN SELECT value FROM jsonb_array_elements(verdicts) LOOP
        RETURN NEXT ledger.close_one(v, now);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.close_one(v jsonb, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    standing text;
BEGIN
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = (v -> 'identity' ->> 'id')::uuid;
    IF n.closed_as IS NULL THEN
        standing := ledger.standing(n.id, now);
        IF standing IS NULL OR (standing = 'unknown' AND (v ->> 'resolves')::boolean
                                AND v ->> 'reason' IN ('sent', 'failed', 'unknown')) THEN
            PERFORM ledger.put_closing(n, v ->> 'reason', v ->> 'detail',
                                       (v ->> 'winner')::uuid, now);
            UPDATE ledger.notifications SET announced = NOT (v ->> 'resolves')::boolean
            WHERE id = n.id;
        END IF;
    END IF;
    RETURN ledger.closing(n.id);
END $$;

-- cancel: [{key, id, generation, offset}]; the closings of what is known and cancelled by it. What
-- is not known yet meets the floor, or the mark on its key, at its claim.
CREATE OR REPLACE FUNCTION ledger.cancel(cancellations jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    c jsonb;
BEGIN
    now := ledger.lock_rows((SELECT coalesce(jsonb_agg(jsonb_build_object(
            'key', e ->> 'key', 'id', e ->> 'id')), '[]')
        FROM jsonb_array_elements(cancellations) e));
    FOR c IN SELECT value FROM jsonb_array_elements(cancellations) LOOP
        IF c ->> 'id' IS NOT NULL THEN
            RETURN QUERY SELECT ledger.cancel_one((c ->> 'id')::uuid, c ->> 'key', now);
        ELSE
            UPDATE ledger.keys SET cancel_generation = (c ->> 'generation')::integer,
                cancel_offset = (c ->> 'offset')::bigint
            WHERE key = c ->> 'key' AND (cancel_generation, cancel_offset)
                < ((c ->> 'generation')::integer, (c ->> 'offset')::bigint);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.cancel_one(p_id uuid, p_key text, now timestamptz)
RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
BEGIN
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = p_id AND t.key = p_key;
    IF n.id IS NOT NULL AND n.closed_as IS NULL AND ledger.standing(n.id, now) IS NULL THEN
        PERFORM ledger.put_closing(n, 'cancelled', 'it was cancelled by its id', NULL, now);
    ELSIF n.closed_as IS NULL THEN
        UPDATE ledger.keys SET cancelled = cancelled || p_id
        WHERE key = p_key AND NOT p_id = ANY (cancelled);
    END IF;
    RETURN QUERY SELECT ledger.closing(n.id) WHERE ledger.closing(n.id) IS NOT NULL;
END $$;

-- The sweeper's: attempts that nobody can still be sending become unknown; as JSON.
CREATE OR REPLACE FUNCTION ledger.abandon(most integer) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    found jsonb;
BEGIN
    SELECT coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'key', n.key, 'topic_id', n.topic_id,
        'partition', n.partition, 'generation', n.generation, 'offset', n."offset")), '[]')
    INTO found FROM (SELECT t.notification_id FROM ledger.attempts t WHERE t.outcome IS NULL
                     AND t.over_at < ledger.now() ORDER BY t.over_at, t.notification_id LIMIT most) a
    JOIN ledger.notifications n ON n.id = a.notification_id;
    now := ledger.lock_rows(found);
    PERFORM ledger.standing((f ->> 'id')::uuid, now) FROM jsonb_array_elements(found) f;
    -- a statement of its own: it sees what standing() has just written
    RETURN QUERY SELECT ledger.as_json(a) FROM ledger.attempts a
        JOIN ledger.notifications n ON n.id = a.notification_id AND n.attempts = a.attempt
        WHERE a.outcome = 'unknown'
          AND n.id IN (SELECT (f ->> 'id')::uuid FROM jsonb_array_elements(found) f)
        ORDER BY a.over_at, n.id;
END $$;

-- The sweeper's: notifications whose last attempt is unknown and that nobody has closed, with that
-- attempt, the oldest first.
CREATE OR REPLACE FUNCTION ledger.unresolved(most integer) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('identity', jsonb_build_object('id', n.id, 'key', n.key,
               'origin', jsonb_build_object('topic_id', n.topic_id, 'partition', n.partition,
                                            'offset', n."offset")),
           'attempt', ledger.as_json(a))
    FROM ledger.attempts a JOIN ledger.notifications n ON n.id = a.notification_id
    WHERE a.outcome = 'unknown' AND a.attempt = n.attempts AND n.closed_as IS NULL
    ORDER BY a.settled_at, n.id LIMIT most;
$$;

-- The sweeper's: its verdicts that nobody is known to have published, with their attempts.
CREATE OR REPLACE FUNCTION ledger.unannounced(most integer) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('closing', ledger.closing(n.id),
                              'attempts', ledger.attempts_of(n.id))
    FROM ledger.notifications n WHERE NOT n.announced ORDER BY n.closed_at, n.id LIMIT most;
$$;

CREATE OR REPLACE FUNCTION ledger.announce(ids jsonb) RETURNS integer LANGUAGE sql AS $$
    WITH told AS (
        UPDATE ledger.notifications SET announced = true
        WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text(ids)) RETURNING 1)
    SELECT count(*)::integer FROM told;
$$;
