-- settle: [{claim_id, outcome: {kind, code, detail, provider_ref}, verdict, verdict_detail, newer:
-- identity}]; an answer a settlement, in order. A claim that another has called unknown meanwhile stays so, unless
-- its own sender now knows that it was accepted.
CREATE OR REPLACE FUNCTION ledger.settle(settlements jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    answers jsonb[];
    s jsonb;
    place bigint;
BEGIN
    PERFORM ledger.require_life();
    now := ledger.lock_claims(settlements, jsonb_path_query_array(
        settlements, '$[*].newer ? (@.type() == "object")'));
    IF ledger.is_worth_while(settlements) THEN
        answers := ledger.settle_plain(settlements, now);
    END IF;
    FOR s, place IN SELECT * FROM jsonb_array_elements(settlements) WITH ORDINALITY LOOP
        RETURN NEXT coalesce(answers[place], ledger.settle_one(s, now))
                    || jsonb_build_object('claim_id', s ->> 'claim_id');
    END LOOP;
END $$;

-- Lock the notifications of these claims, and their keys, with some others; the time.
CREATE OR REPLACE FUNCTION ledger.lock_claims(claims jsonb, others jsonb)
RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT (e ->> 'claim_id')::uuid FROM jsonb_array_elements(claims) e);
BEGIN
    RETURN ledger.lock_rows((
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', a.id, 'key', a.key)), '[]')
        FROM ledger.attempts a WHERE a.claim_id = ANY (ids)) || others);
END $$;

CREATE OR REPLACE FUNCTION ledger.settle_one(s jsonb, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    n ledger.notifications;
    kind text := s -> 'outcome' ->> 'kind';
BEGIN
    SELECT * INTO a FROM ledger.attempts t WHERE t.claim_id = (s ->> 'claim_id')::uuid;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    IF a.outcome IS NULL AND s -> 'newer' <> 'null' THEN
        PERFORM ledger.note_newer(a.id, w) FROM ledger.notifications w
        WHERE w.id = (s -> 'newer' ->> 'id')::uuid AND ledger.conflict(w, s -> 'newer') IS NULL;
    END IF;
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = a.id;
    IF a.outcome IS NULL THEN
        a := ledger.put_outcome(a, kind, coalesce(s -> 'outcome' ->> 'code', ''),
            coalesce(s -> 'outcome' ->> 'detail', ''), s -> 'outcome' ->> 'provider_ref', now);
        n := ledger.close_settled(n, a, s ->> 'verdict',
                                  coalesce(s ->> 'verdict_detail', ''), now);
    ELSIF a.outcome = 'unknown' AND kind = 'accepted' AND a.falls_back THEN
        PERFORM ledger.note_taken(a, now);
    ELSIF a.outcome = 'unknown' AND kind = 'accepted' THEN
        -- its record was done with when it became unknown, so this is kept until it is told
        n := ledger.prove_taken(n, a, coalesce(s ->> 'verdict_detail', ''), now, true);
    END IF;
    RETURN ledger.settled(a, n);
END $$;

CREATE OR REPLACE FUNCTION ledger.settled(a ledger.attempts, n ledger.notifications) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('attempt', ledger.as_json(a, n), 'closing', ledger.closing(n));
$$;

-- The verdict that an attempt's end brings, if it does. What was let go because it was in flight
-- says so; where a receipt is awaited, it may have come already.
CREATE OR REPLACE FUNCTION ledger.close_settled(
    n ledger.notifications, a ledger.attempts, verdict text, detail text, now timestamptz
) RETURNS ledger.notifications LANGUAGE plpgsql AS $$
DECLARE
    k ledger.keys;
    cancelled text;
BEGIN
    IF n.closed_as IS NOT NULL THEN
        RETURN n;
    ELSIF n.taken THEN
        RETURN ledger.put_closing(n, 'sent', 'an earlier attempt was taken', NULL, now);
    ELSIF a.outcome = 'unknown' THEN
        RETURN ledger.heed(n, a, now, false);
    END IF;
    SELECT * INTO k FROM ledger.keys t WHERE t.key = n.key;
    cancelled := ledger.cancelled(n, k);
    IF a.outcome <> 'accepted' THEN
        IF verdict IS NOT NULL THEN
            RETURN ledger.put_closing(n, verdict, detail, NULL, now);
        ELSIF cancelled IS NOT NULL THEN
            RETURN ledger.put_closing(n, 'cancelled', cancelled || ', and not taken', NULL, now);
        END IF;
        RETURN n;
    END IF;
    IF cancelled IS NOT NULL THEN
        detail := 'in flight when ' || cancelled;
    ELSIF a.awaits <> 'accepted' THEN
        RETURN ledger.heed(n, a, now, false);
    END IF;
    RETURN ledger.put_closing(n, 'sent', detail, NULL, now);
END $$;

-- An attempt that was unknown turns out to be taken: that is its notification's end, but for a later
-- attempt that is open now.
CREATE OR REPLACE FUNCTION ledger.prove_taken(
    n ledger.notifications, a ledger.attempts, detail text, now timestamptz, resolves boolean
) RETURNS ledger.notifications LANGUAGE plpgsql AS $$
BEGIN
    IF n.closed_as IS NOT NULL THEN
        RETURN n;
    ELSIF n.attempts > a.attempt AND ledger.standing(n, now) IS NOT DISTINCT FROM 'busy' THEN
        UPDATE ledger.notifications t SET taken = true WHERE t.id = n.id RETURNING * INTO n;
        RETURN n;
    END IF;
    RETURN ledger.put_closing(n, 'sent', detail, NULL, now, resolves);
END $$;

-- resolve: [{claim_id, finding, detail, repeats}]; answers as of settle. What reconciling says of
-- unknown attempts: 'taken', or 'not_found' once the settling time is over. That proves nothing: it
-- ends the notification as unknown, or lets a type that repeats go on, if it is parked.
CREATE OR REPLACE FUNCTION ledger.resolve(resolutions jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    r jsonb;
BEGIN
    PERFORM ledger.require_life();
    now := ledger.lock_claims(resolutions, '[]');
    FOR r IN SELECT value FROM jsonb_array_elements(resolutions) LOOP
        RETURN NEXT ledger.resolve_one(r, now)
                    || jsonb_build_object('claim_id', r ->> 'claim_id');
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.resolve_one(r jsonb, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    n ledger.notifications;
BEGIN
    SELECT * INTO a FROM ledger.attempts t WHERE t.claim_id = (r ->> 'claim_id')::uuid;
    IF NOT FOUND THEN
        RETURN '{}';
    END IF;
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = a.id;
    IF a.attempt = n.attempts AND a.outcome IS NULL THEN
        PERFORM ledger.standing(n, now);
        SELECT * INTO a FROM ledger.attempts t WHERE t.id = n.id AND t.attempt = n.attempts;
    END IF;
    IF a.outcome IS DISTINCT FROM 'unknown' OR n.closed_as IS NOT NULL THEN
        RETURN ledger.settled(a, n);
    ELSIF a.falls_back AND r ->> 'finding' = 'taken' THEN
        PERFORM ledger.note_taken(a, now);
    ELSIF a.falls_back THEN
        -- the end of its wait decides
        NULL;
    ELSIF r ->> 'finding' = 'taken' THEN
        n := ledger.prove_taken(n, a, r ->> 'detail', now, true);
    ELSIF a.attempt = n.attempts AND (r ->> 'repeats')::boolean
          AND (a.ended OR ledger.make_due(n.id, now)) THEN
        UPDATE ledger.attempts t SET ended = true WHERE t.claim_id = a.claim_id
        RETURNING * INTO a;
    ELSIF a.attempt = n.attempts THEN
        n := ledger.put_closing(n, 'unknown', r ->> 'detail', NULL, now, true);
    END IF;
    RETURN ledger.settled(a, n);
END $$;

-- close: [{identity, reason, detail, winner: identity, resolves}]; a closing or null a verdict, in
-- order.
CREATE OR REPLACE FUNCTION ledger.close(verdicts jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    v jsonb;
BEGIN
    PERFORM ledger.require_life();
    now := ledger.lock_rows(jsonb_path_query_array(verdicts, '$[*].identity')
        || jsonb_path_query_array(verdicts, '$[*].winner ? (@.type() == "object")'));
    FOR v IN SELECT value FROM jsonb_array_elements(verdicts) LOOP
        RETURN NEXT ledger.close_one(v, now);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.close_one(v jsonb, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications := ledger.notification((v -> 'identity' ->> 'id')::uuid);
    why text := ledger.conflict(n, v -> 'identity');
    resolves boolean := (v ->> 'resolves')::boolean;
    standing text;
BEGIN
    IF why IS NOT NULL THEN
        RETURN ledger.close_second(v -> 'identity', why, now);
    END IF;
    IF n.closed_as IS NOT NULL THEN
        RETURN ledger.closing(n);
    END IF;
    standing := ledger.standing(n, now);
    IF n.taken AND standing IS DISTINCT FROM 'busy' THEN
        n := ledger.put_closing(n, 'sent', 'an earlier attempt was taken', NULL, now, resolves);
    ELSIF (standing IS NULL
           OR (standing = 'unknown' AND resolves
               AND v ->> 'reason' IN ('sent', 'failed', 'unknown'))
           OR (standing = 'unknown' AND NOT ledger.reconciles(n.id)))
          AND (v -> 'winner' = 'null' OR ledger.gives_way(n, v -> 'winner')) THEN
        n := ledger.put_closing(n, v ->> 'reason', v ->> 'detail', (v -> 'winner' ->> 'id')::uuid,
                                now, resolves);
    END IF;
    RETURN ledger.closing(n);
END $$;

-- Whether a locked notification gives way to another that was not claimed yet: a newer one of its
-- key, by where both were first seen, that is still to be sent.
CREATE OR REPLACE FUNCTION ledger.gives_way(n ledger.notifications, identity jsonb) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT w.key = n.key AND (n.generation, n."offset") < (w.generation, w."offset")
           AND ledger.stands(w, ledger.key(w.key), identity)
    FROM ledger.notifications w WHERE w.id = (identity ->> 'id')::uuid;
$$;

-- cancel: [{key, id, generation, offset}]; the closings of what is known and cancelled by it. What
-- is not known yet meets the floor, or the mark on its key, at its claim.
CREATE OR REPLACE FUNCTION ledger.cancel(cancellations jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    c jsonb;
BEGIN
    PERFORM ledger.require_life();
    now := ledger.lock_rows((SELECT coalesce(jsonb_agg(jsonb_build_object(
            'key', e ->> 'key', 'id', e ->> 'id')), '[]')
        FROM jsonb_array_elements(cancellations) e));
    FOR c IN SELECT value FROM jsonb_array_elements(cancellations) LOOP
        IF c ->> 'id' IS NULL THEN
            PERFORM ledger.cancel_key(c, now);
        ELSE
            RETURN QUERY SELECT ledger.cancel_one((c ->> 'id')::uuid, c ->> 'key', now);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.cancel_key(c jsonb, now timestamptz) RETURNS void
LANGUAGE sql AS $$
    UPDATE ledger.keys SET cancel_generation = (c ->> 'generation')::integer,
        cancel_offset = (c ->> 'offset')::bigint, touched_at = now
    WHERE key = c ->> 'key' AND (cancel_generation, cancel_offset)
        < ((c ->> 'generation')::integer, (c ->> 'offset')::bigint);
$$;

CREATE OR REPLACE FUNCTION ledger.cancel_one(p_id uuid, p_key text, now timestamptz)
RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
BEGIN
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = p_id AND t.key = p_key;
    IF n.id IS NOT NULL AND n.closed_as IS NULL AND ledger.standing(n, now) IS NULL THEN
        n := ledger.put_closing(n, 'cancelled', 'it was cancelled by its id', NULL, now);
    ELSIF n.closed_as IS NULL THEN
        PERFORM ledger.mark_cancelled(p_id, p_key, now);
    END IF;
    IF n.closed_as IS NOT NULL THEN
        RETURN NEXT ledger.closing(n);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.mark_cancelled(p_id uuid, p_key text, now timestamptz)
RETURNS void LANGUAGE sql AS $$
    UPDATE ledger.keys SET cancelled = cancelled || p_id, touched_at = now
    WHERE key = p_key AND NOT p_id = ANY (cancelled);
$$;
