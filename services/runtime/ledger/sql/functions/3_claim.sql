-- claim: requests as [{claim_id, identity, attempt, leg, channel, account, deadline, lease_ms,
-- timeout_ms, ask, ready_ms, cost, lane, repeats, awaits, within_ms, falls_back, requested_at, reason,
-- tenant, user, address_digest, category, required, caps: [{scope, most, per_ms, words}], quiet: [{begin, end}], losers: [identity]}]; an answer a request, in order. terms: {margin_ms, longest_lease_ms,
-- lifetime_ms, quotas: {account: quota}}.
CREATE OR REPLACE FUNCTION ledger.claim(requests jsonb, terms jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    answers jsonb[];
    r jsonb;
    place bigint;
BEGIN
    PERFORM ledger.require_life();
    IF terms -> 'quotas' <> '{}' THEN
        PERFORM ledger.lock_accounts(terms -> 'quotas');
    END IF;
    PERFORM ledger.lock_recipients(requests);
    now := ledger.lock_rows(jsonb_path_query_array(requests, '$[*].identity')
                            || jsonb_path_query_array(requests, '$[*].losers[*]'));
    terms := jsonb_set(terms, '{quotas}', ledger.in_force(terms -> 'quotas', now));
    IF ledger.is_worth_while(requests) THEN
        answers := ledger.claim_plain(requests, terms, now);
    END IF;
    FOR r, place IN SELECT * FROM jsonb_array_elements(requests) WITH ORDINALITY LOOP
        RETURN NEXT coalesce(answers[place], ledger.claim_one(r, terms, now))
                    || jsonb_build_object('claim_id', r ->> 'claim_id', 'decided_at', now);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION ledger.claim_one(r jsonb, terms jsonb, now timestamptz)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    last ledger.attempts;
    -- open under this very claim id: its maker had no answer, so it cannot have begun
    own boolean := false;
    why text;
    second jsonb;
BEGIN
    SELECT * INTO n FROM ledger.notifications t WHERE t.id = (r -> 'identity' ->> 'id')::uuid;
    why := ledger.conflict(n, r -> 'identity');
    IF why IS NOT NULL THEN
        second := ledger.close_second(r -> 'identity', why, now);
        RETURN jsonb_build_object('refused', 'conflict', 'closings',
            CASE WHEN second IS NULL THEN '[]' ELSE jsonb_build_array(second) END);
    END IF;
    IF n.closed_as IS NOT NULL THEN
        RETURN ledger.refuse_closed(n);
    END IF;
    IF n.digest = '' AND r -> 'identity' ->> 'digest' <> '' THEN
        UPDATE ledger.notifications t SET digest = r -> 'identity' ->> 'digest'
        WHERE t.id = n.id RETURNING * INTO n;
    END IF;
    IF n.attempts > 0 THEN
        SELECT * INTO last FROM ledger.attempts t
        WHERE t.id = n.id AND t.attempt = n.attempts;
        own := last.outcome IS NULL AND last.claim_id = (r ->> 'claim_id')::uuid;
    END IF;
    IF NOT own THEN
        RETURN ledger.claim_next(n, last, r, terms, now);
    END IF;
    -- the answer to an earlier call was lost: say it again. A call that comes after a later one is
    -- nobody's question any more, and its maker may have begun
    IF now < last.send_by OR (r ->> 'ask')::integer <= last.asks THEN
        UPDATE ledger.attempts t SET asks = (r ->> 'ask')::integer
        WHERE t.id = n.id AND t.attempt = n.attempts AND asks < (r ->> 'ask')::integer;
        RETURN ledger.granted(last, n, now);
    END IF;
    RETURN ledger.decide(n, last, true, r, terms, now);
END $$;

-- May there be another attempt at all?
CREATE OR REPLACE FUNCTION ledger.claim_next(
    n ledger.notifications, last ledger.attempts, r jsonb, terms jsonb, now timestamptz
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    standing text := ledger.standing(n, now);
    verdict text;
    detail text;
BEGIN
    IF n.taken AND standing IS DISTINCT FROM 'busy' THEN
        n := ledger.put_closing(n, 'sent', 'an earlier attempt was taken', NULL, now);
        RETURN ledger.refuse_closed(n);
    END IF;
    IF last.awaits <> 'accepted' THEN
        SELECT * INTO verdict, detail FROM ledger.spent(n, now);
    END IF;
    IF verdict IS NOT NULL THEN
        n := ledger.put_closing(n, verdict, detail, NULL, now);
        RETURN ledger.refuse_closed(n);
    END IF;
    IF standing = 'accepted'
       OR standing = 'unknown' AND NOT (last.ended AND (r ->> 'repeats')::boolean) THEN
        RETURN jsonb_build_object('refused', 'unknown', 'attempts', ledger.attempts_of(n));
    END IF;
    RETURN ledger.decide(n, last, false, r, terms, now);
END $$;

-- May it be now? With `own`, the last attempt is this very claim: it is given up, or made anew.
CREATE OR REPLACE FUNCTION ledger.decide(
    n ledger.notifications, last ledger.attempts, own boolean, r jsonb, terms jsonb, now timestamptz
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    -- read after standing(), which may have freed the key
    k ledger.keys := ledger.key(n.key);
    verdict text;
    detail text;
    winner uuid;
    unwanted text;
    sleeps_until timestamptz;
    answer jsonb;
BEGIN
    IF now < k.open_until AND k.open_claim <> (r ->> 'claim_id')::uuid THEN
        PERFORM ledger.keep_out(n, k);
        answer := jsonb_build_object('refused', 'busy', 'retry_at', k.open_until);
    ELSIF NOT own AND n.attempts + 1 <> (r ->> 'attempt')::integer THEN
        RETURN jsonb_build_object('refused', 'history', 'attempts', ledger.attempts_of(n));
    ELSE
        SELECT * INTO verdict, detail, winner FROM ledger.instead(n, k, r, terms, now);
        unwanted := ledger.unwanted(r);
        sleeps_until := ledger.sleeps_until(r -> 'quiet', terms, now);
        IF verdict IS NULL AND unwanted IS NULL AND sleeps_until IS NULL THEN
            -- what waits for the morning is counted in the morning
            detail := ledger.over_cap(n, r -> 'caps', now);
            verdict := CASE WHEN detail IS NOT NULL THEN 'suppressed' END;
        END IF;
        IF verdict IS NULL AND unwanted IS NOT NULL THEN
            answer := jsonb_build_object('refused', 'suppressed', 'detail', unwanted);
        ELSIF verdict IS NULL AND sleeps_until IS NOT NULL THEN
            answer := jsonb_build_object('refused', 'quiet', 'retry_at', sleeps_until);
        ELSIF verdict IS NULL THEN
            answer := ledger.grant_claim(n, own, r, terms, now);
        END IF;
    END IF;
    IF own AND (verdict IS NOT NULL OR answer ->> 'refused' IS NOT NULL) THEN
        PERFORM ledger.put_outcome(last, 'voided', '', 'its maker never began', NULL, now);
    END IF;
    IF verdict IS NOT NULL THEN
        n := ledger.put_closing(n, verdict, detail, winner, now);
        RETURN ledger.refuse_closed(n);
    END IF;
    RETURN answer;
END $$;

CREATE OR REPLACE FUNCTION ledger.key(p_key text) RETURNS ledger.keys LANGUAGE sql STABLE AS $$
    SELECT k FROM ledger.keys k WHERE k.key = p_key;
$$;

-- It asks while another of its key is in flight: what becomes of that one is to say so.
CREATE OR REPLACE FUNCTION ledger.keep_out(n ledger.notifications, k ledger.keys) RETURNS void
LANGUAGE sql AS $$
    SELECT ledger.note_newer(a.id, n) FROM ledger.attempts a WHERE a.claim_id = k.open_claim;
$$;

-- The verdict that it gets instead of a claim, if it does.
CREATE OR REPLACE FUNCTION ledger.instead(
    n ledger.notifications, k ledger.keys, r jsonb, terms jsonb, now timestamptz,
    OUT verdict text, OUT detail text, OUT winner uuid
) LANGUAGE plpgsql AS $$
BEGIN
    detail := ledger.cancelled(n, k);
    IF detail IS NOT NULL THEN
        verdict := 'cancelled';
    ELSIF (n.generation, n."offset") < (k.floor_generation, k.floor_offset) THEN
        verdict := 'superseded';
        detail := 'a newer one went first';
        winner := k.floor_id;
    ELSIF (r ->> 'requested_at')::timestamptz + ledger.ms((terms ->> 'lifetime_ms')::bigint)
          <= now THEN
        verdict := 'expired';
        detail := 'it is older than the ledger remembers';
    ELSIF now + ledger.ms((terms ->> 'margin_ms')::bigint)
          > least((r ->> 'deadline')::timestamptz, n.deadline) THEN
        verdict := 'expired';
        detail := 'its deadline came first';
    END IF;
END $$;

-- Until when it is night where they live, or soon will be; or null.
CREATE OR REPLACE FUNCTION ledger.sleeps_until(quiet jsonb, terms jsonb, now timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min((q ->> 'end')::timestamptz) FROM jsonb_array_elements(quiet) q
    WHERE (q ->> 'begin')::timestamptz < now + ledger.ms((terms ->> 'margin_ms')::bigint)
      AND now < (q ->> 'end')::timestamptz;
$$;

-- When it is night there next; or null.
CREATE OR REPLACE FUNCTION ledger.quiet_from(quiet jsonb, now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min((q ->> 'begin')::timestamptz) FROM jsonb_array_elements(quiet) q
    WHERE now < (q ->> 'begin')::timestamptz;
$$;

-- Until when what is sent also arrives in time.
CREATE OR REPLACE FUNCTION ledger.latest_us(send_by timestamptz, r jsonb, terms jsonb)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ledger.to_us(least(send_by, (r ->> 'deadline')::timestamptz
                                       - ledger.ms((terms ->> 'margin_ms')::bigint)));
$$;

CREATE OR REPLACE FUNCTION ledger.full(again_us bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('refused', 'quota', 'retry_at', ledger.from_us(again_us));
$$;

CREATE OR REPLACE FUNCTION ledger.grant_claim(
    n ledger.notifications, own boolean, r jsonb, terms jsonb, now timestamptz
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    quota jsonb := terms -> 'quotas' -> (r ->> 'account');
    cell record;
    cell_us bigint := (quota -> 'windows' -> 0 ->> 'cell_us')::bigint;
BEGIN
    a.claimed_at := now;
    a.send_by := least((r ->> 'deadline')::timestamptz, n.deadline,
        ledger.quiet_from(r -> 'quiet', now),
        now + ledger.ms(least((r ->> 'lease_ms')::bigint, (terms ->> 'longest_lease_ms')::bigint)));
    IF quota IS NOT NULL THEN
        cell := ledger.take_each(r ->> 'account', quota, ARRAY[(r ->> 'cost')::integer],
            r ->> 'lane' = 'bulk', ledger.to_us(now) + (r ->> 'ready_ms')::bigint * 1000,
            ARRAY[ledger.latest_us(a.send_by, r, terms)], ledger.to_us(now));
        IF cell.opens_us IS NULL THEN
            RETURN ledger.full(cell.again_us[1]);
        END IF;
        a.opens_at := ledger.from_us(cell.opens_us[1]);
        a.send_by := least(a.send_by, ledger.from_us(cell.opens_us[1] + cell_us));
    END IF;
    a.over_at := a.send_by + ledger.ms((r ->> 'timeout_ms')::bigint);
    IF own THEN
        UPDATE ledger.attempts t SET claimed_at = now, opens_at = a.opens_at, send_by = a.send_by,
            over_at = a.over_at, sequence = nextval('ledger.grants'), asks = (r ->> 'ask')::integer
        WHERE t.id = n.id AND t.attempt = n.attempts RETURNING * INTO a;
    ELSE
        INSERT INTO ledger.attempts (id, attempt, claim_id, key, leg, channel, account,
            reason, cost, claimed_at, opens_at, send_by, over_at, sequence, asks, awaits,
            within_ms, falls_back, address_digest, category, scopes)
        VALUES (n.id, n.attempts + 1, (r ->> 'claim_id')::uuid, n.key, (r ->> 'leg')::integer,
            r ->> 'channel', r ->> 'account', r ->> 'reason', (r ->> 'cost')::integer, now,
            a.opens_at, a.send_by, a.over_at, nextval('ledger.grants'), (r ->> 'ask')::integer,
            r ->> 'awaits', (r ->> 'within_ms')::bigint, (r ->> 'falls_back')::boolean,
            coalesce(r ->> 'address_digest', ''), coalesce(r ->> 'category', ''),
            ARRAY(SELECT c ->> 'scope' FROM jsonb_array_elements(r -> 'caps') c))
        RETURNING * INTO a;
        PERFORM ledger.count_in(a, now);
        UPDATE ledger.notifications SET attempts = n.attempts + 1,
            deadline = least((r ->> 'deadline')::timestamptz, n.deadline) WHERE id = n.id;
    END IF;
    UPDATE ledger.keys SET floor_generation = n.generation, floor_offset = n."offset",
        floor_id = n.id, open_claim = a.claim_id, open_until = a.over_at, touched_at = now
    WHERE key = n.key;
    IF jsonb_array_length(r -> 'losers') = 0 THEN
        RETURN ledger.granted(a, n, now);
    END IF;
    RETURN ledger.granted(a, n, now)
           || jsonb_build_object('closings', ledger.close_losers(n, r -> 'losers', now));
END $$;

-- Close the older ones that a granted claim supersedes. One whose own attempt is open, accepted or
-- unknown keeps that: it is not here to be closed. Nor is one that came second under its id.
CREATE OR REPLACE FUNCTION ledger.close_losers(
    winner ledger.notifications, losers jsonb, now timestamptz
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    closings jsonb := '[]';
BEGIN
    FOR n IN SELECT DISTINCT ON (t.generation, t."offset", t.id) t.*
             FROM jsonb_array_elements(losers) l
             JOIN ledger.notifications t ON t.id = (l ->> 'id')::uuid
             WHERE t.key = winner.key AND t.id <> winner.id AND ledger.conflict(t, l) IS NULL
               AND (t.generation, t."offset") < (winner.generation, winner."offset")
             ORDER BY t.generation, t."offset", t.id
    LOOP
        IF n.closed_as IS NULL AND ledger.standing(n, now) IS NULL THEN
            n := ledger.put_closing(n, 'superseded', 'a newer one took its place',
                                    winner.id, now);
        END IF;
        IF n.closed_as IS NOT NULL THEN
            closings := closings || ledger.closing(n);
        END IF;
    END LOOP;
    RETURN closings;
END $$;

CREATE OR REPLACE FUNCTION ledger.refuse_closed(n ledger.notifications) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('refused', 'closed',
        'closings', jsonb_build_array(ledger.closing(n)), 'attempts', ledger.attempts_of(n));
$$;

-- The answer to a grant; of several attempts it is the last.
CREATE OR REPLACE FUNCTION ledger.granted(
    a ledger.attempts, n ledger.notifications, now timestamptz
) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'attempts', CASE WHEN a.attempt = 1 THEN jsonb_build_array(ledger.as_json(a, n))
                         ELSE ledger.attempts_of(n) END,
        'lease_left_ms', greatest(0, floor(1000 * extract(epoch FROM a.send_by - now)))::integer)
        || CASE WHEN a.opens_at IS NULL THEN '{}' ELSE jsonb_build_object(
            'opens_in_ms', greatest(0, 1000 * extract(epoch FROM a.opens_at - now)),
            'closes_in_ms', greatest(0, 1000 * extract(epoch FROM a.send_by - now))) END;
$$;
