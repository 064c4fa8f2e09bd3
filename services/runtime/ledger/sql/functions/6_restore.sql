-- A ledger that was set back: restored, or promoted without its last commits. No setting of the
-- server tells (a restored copy keeps its system id and its timeline), but none of it happens within
-- one life of the server's process and of these tables. So each life has to be confirmed, by who has
-- compared the ledger with the log, before anything is decided in it.

CREATE OR REPLACE FUNCTION ledger.life() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM pg_postmaster_start_time()) || '/'
           || 'ledger.attempts'::regclass::oid || '/' || pg_relation_filenode('ledger.attempts');
$$;

CREATE OR REPLACE FUNCTION ledger.tables(p_life text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT substr(p_life, strpos(p_life, '/'));
$$;

CREATE OR REPLACE FUNCTION ledger.is_confirmed() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM ledger.lives l
                   WHERE l.life = ledger.life() AND l.confirmed_at IS NOT NULL);
$$;

CREATE OR REPLACE FUNCTION ledger.require_life() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT ledger.is_confirmed() THEN
        RAISE EXCEPTION 'the ledger was not compared with the log since it started'
            USING ERRCODE = 'LW001';
    END IF;
END $$;

-- This life, noted if it is new. For how long the one before is over: since this one was first seen,
-- or since the server started, if it is the same server by its timeline, with the same tables. Tables
-- that were made anew may have taken the place of others a moment ago.
CREATE OR REPLACE FUNCTION ledger.live() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    own_timeline text := left(pg_walfile_name(pg_current_wal_lsn()), 8);
    same boolean := (
        SELECT l.timeline = own_timeline AND ledger.tables(l.life) = ledger.tables(ledger.life())
        FROM ledger.lives l WHERE l.confirmed_at IS NOT NULL
        ORDER BY l.confirmed_at DESC LIMIT 1);
    up interval := clock_timestamp() - pg_postmaster_start_time();
BEGIN
    INSERT INTO ledger.lives (life, timeline, seen_at)
    VALUES (ledger.life(), own_timeline, ledger.now())
    ON CONFLICT DO NOTHING;
    RETURN (SELECT jsonb_build_object('life', l.life, 'confirmed', l.confirmed_at IS NOT NULL,
        'over_ms', floor(1000 * extract(epoch FROM greatest(ledger.now() - l.seen_at,
            CASE WHEN same THEN up END)))::bigint,
        'empty', NOT EXISTS (SELECT FROM ledger.attempts))
        FROM ledger.lives l WHERE l.life = ledger.life());
END $$;

CREATE OR REPLACE FUNCTION ledger.confirm(p_life text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF p_life <> ledger.life() THEN
        RETURN false;
    END IF;
    -- what was parked may have been done with since: whoever has it looks again
    UPDATE ledger.parked SET due_at = ledger.now();
    UPDATE ledger.lives SET confirmed_at = ledger.now() WHERE life = p_life AND confirmed_at IS NULL;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION ledger.kept_offsets() RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_array(o.topic, o.partition, o."offset") FROM ledger.offsets o;
$$;

-- offsets: [[topic, partition, offset]]
CREATE OR REPLACE FUNCTION ledger.keep_offsets(offsets jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ledger.require_life();
    INSERT INTO ledger.offsets (topic, partition, "offset")
    SELECT o ->> 0, (o ->> 1)::integer, (o ->> 2)::bigint FROM jsonb_array_elements(offsets) o
    ORDER BY 1, 2
    ON CONFLICT (topic, partition) DO UPDATE SET "offset" = excluded."offset";
    RETURN true;
END $$;

-- Take over what the log says and the ledger does not know; how much that was. Nothing is decided
-- here, so the life need not be confirmed.
-- past: {starts: [identity and attempt], ends: [{id, attempt, outcome, ...}], closings: [identity and
-- closing], cancellations: [{key, id, generation, offset}], parked: [as of park], doubtful: [as of
-- park, of which those count that an attempt was begun of]}
CREATE OR REPLACE FUNCTION ledger.make_whole(past jsonb, quotas jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    settled_ids uuid[] := ARRAY(SELECT (e ->> 'id')::uuid FROM jsonb_array_elements(past -> 'ends') e);
    e jsonb;
    attempts integer := 0;
    outcomes integer := 0;
    closings integer := 0;
BEGIN
    IF quotas <> '{}' THEN
        PERFORM ledger.lock_accounts(quotas);
    END IF;
    now := ledger.lock_rows((past -> 'starts') || (past -> 'closings')
        || (SELECT coalesce(jsonb_agg(jsonb_build_object('key', c ->> 'key', 'id', c ->> 'id')), '[]')
            FROM jsonb_array_elements(past -> 'cancellations') c)
        || (SELECT coalesce(jsonb_agg(jsonb_build_object('key', a.key, 'id', a.id)), '[]')
            FROM ledger.attempts a WHERE a.id = ANY (settled_ids))
        || jsonb_path_query_array(past -> 'parked', '$[*].identity ? (@.type() == "object")'));
    FOR e IN SELECT value FROM jsonb_array_elements(past -> 'starts') LOOP
        attempts := attempts + ledger.take_over_start(e, quotas -> (e ->> 'account'), now)::integer;
    END LOOP;
    FOR e IN SELECT value FROM jsonb_array_elements(past -> 'ends') LOOP
        outcomes := outcomes + ledger.take_over_end(e)::integer;
    END LOOP;
    FOR e IN SELECT value FROM jsonb_array_elements(past -> 'closings') LOOP
        closings := closings + ledger.take_over_closing(e, now)::integer;
    END LOOP;
    FOR e IN SELECT value FROM jsonb_array_elements(past -> 'cancellations') LOOP
        IF e ->> 'id' IS NULL THEN
            PERFORM ledger.cancel_key(e, now);
        ELSIF (ledger.notification((e ->> 'id')::uuid)).closed_as IS NULL THEN
            PERFORM ledger.mark_cancelled((e ->> 'id')::uuid, e ->> 'key', now);
        END IF;
    END LOOP;
    PERFORM ledger.put_away(ledger.first_of((
        SELECT coalesce(jsonb_agg(p), '[]') FROM jsonb_array_elements(past -> 'parked') p
        WHERE (ledger.notification((p ->> 'id')::uuid)).closed_as IS NULL)
        || (SELECT coalesce(jsonb_agg(p), '[]') FROM jsonb_array_elements(past -> 'doubtful') p
            JOIN ledger.notifications n ON n.id = (p ->> 'id')::uuid
            WHERE n.closed_as IS NULL AND n.attempts > 0)), now);
    RETURN jsonb_build_object('attempts', attempts, 'outcomes', outcomes, 'closings', closings);
END $$;

CREATE OR REPLACE FUNCTION ledger.take_over_start(s jsonb, quota jsonb, now timestamptz)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    n ledger.notifications;
BEGIN
    INSERT INTO ledger.attempts (id, attempt, claim_id, key, leg, channel, account, reason, cost,
        claimed_at, opens_at, send_by, over_at, sequence, awaits, within_ms, falls_back,
        address_digest, category, scopes)
    VALUES ((s ->> 'id')::uuid, (s ->> 'attempt')::integer, (s ->> 'claim_id')::uuid, s ->> 'key',
        (s ->> 'leg')::integer, s ->> 'channel', s ->> 'account', s ->> 'reason',
        (s ->> 'cost')::integer, (s ->> 'claimed_at')::timestamptz, (s ->> 'opens_at')::timestamptz,
        (s ->> 'send_by')::timestamptz, (s ->> 'over_at')::timestamptz, (s ->> 'sequence')::bigint,
        s ->> 'awaits', (s ->> 'within_ms')::bigint, (s ->> 'falls_back')::boolean,
        s ->> 'address_digest', s ->> 'category',
        ARRAY(SELECT jsonb_array_elements_text(s -> 'scopes')))
    ON CONFLICT DO NOTHING RETURNING * INTO a;
    IF a.id IS NULL THEN
        RETURN false;
    END IF;
    UPDATE ledger.notifications t SET attempts = greatest(attempts, a.attempt)
    WHERE t.id = a.id RETURNING * INTO n;
    PERFORM ledger.raise_floor(n, now);
    PERFORM ledger.count_in(a, a.claimed_at);
    UPDATE ledger.keys SET open_claim = a.claim_id, open_until = a.over_at
    WHERE key = a.key AND a.over_at > now AND (open_until IS NULL OR open_until < a.over_at);
    IF quota IS NOT NULL AND a.opens_at IS NOT NULL THEN
        PERFORM ledger.charge(a.account, quota,
            ledger.to_us(a.opens_at) / (quota -> 'windows' -> 0 ->> 'cell_us')::bigint,
            a.cost, false, ledger.to_us(now));
    END IF;
    PERFORM setval('ledger.grants', a.sequence)
    FROM ledger.grants g WHERE g.last_value < a.sequence;
    RETURN true;
END $$;

-- Accepted is sent, though whoever published the one may have died before the other; but where the
-- receipt decides.
CREATE OR REPLACE FUNCTION ledger.take_over_end(e jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    n ledger.notifications;
BEGIN
    SELECT * INTO a FROM ledger.attempts t
    WHERE t.id = (e ->> 'id')::uuid AND t.attempt = (e ->> 'attempt')::integer;
    IF a.id IS NULL OR a.outcome IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM ledger.put_outcome(a, e ->> 'outcome', e ->> 'code', e ->> 'detail',
                               e ->> 'provider_ref', (e ->> 'at')::timestamptz);
    n := ledger.notification(a.id);
    IF e ->> 'outcome' = 'accepted' AND n.closed_as IS NULL AND a.awaits = 'accepted' THEN
        PERFORM ledger.put_closing(n, 'sent', '', NULL, (e ->> 'at')::timestamptz, true);
    END IF;
    RETURN true;
END $$;

-- A verdict that nobody is known to have published stands as the log has it.
CREATE OR REPLACE FUNCTION ledger.take_over_closing(c jsonb, now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
BEGIN
    UPDATE ledger.notifications t SET closed_as = c ->> 'reason',
        closed_at = (c ->> 'at')::timestamptz, closed_detail = c ->> 'detail',
        winner = (c ->> 'winner')::uuid, winner_topic_id = c -> 'winner_origin' ->> 'topic_id',
        winner_partition = (c -> 'winner_origin' ->> 'partition')::integer,
        winner_offset = (c -> 'winner_origin' ->> 'offset')::bigint, announced = true
    WHERE t.id = (c ->> 'id')::uuid AND t.key = c ->> 'key'
      AND (t.closed_as IS NULL OR NOT t.announced)
    RETURNING * INTO n;
    IF n.id IS NULL THEN
        RETURN false;
    END IF;
    IF n.closed_as <> 'dead_lettered' THEN
        PERFORM ledger.raise_floor(n, now);
    END IF;
    PERFORM ledger.count_out(n.id, n.closed_as);
    RETURN true;
END $$;
