-- The plain ones of a batch, all at once: first claims that nothing stands in the way of, and attempts
-- that were accepted and end their notification. These are nearly all that there are. What comes of
-- each is what claim_one() and settle_one() would make of it, one after the other.

-- A few are sooner done one by one.
CREATE OR REPLACE FUNCTION ledger.is_worth_while(batch jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE
AS $$
    SELECT jsonb_array_length(batch) > 4;
$$;

-- Whether a first claim of this is granted, but for its account's quota. `n` and `k` are locked.
CREATE OR REPLACE FUNCTION ledger.is_plain(
    n ledger.notifications, k ledger.keys, r jsonb, terms jsonb, now timestamptz
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT n.attempts = 0 AND n.closed_as IS NULL AND (r ->> 'attempt')::integer = 1
       AND ledger.conflict(n, r -> 'identity') IS NULL
       AND n.digest = r -> 'identity' ->> 'digest'
       AND (now >= k.open_until) IS NOT FALSE
       AND ledger.cancelled(n, k) IS NULL
       AND (n.generation, n."offset") >= (k.floor_generation, k.floor_offset)
       AND ((r ->> 'requested_at')::timestamptz + ledger.ms((terms ->> 'lifetime_ms')::bigint)
            <= now) IS NOT TRUE
       AND now + ledger.ms((terms ->> 'margin_ms')::bigint)
           <= least((r ->> 'deadline')::timestamptz, n.deadline)
       AND '[]' = ALL (ARRAY[r -> 'losers', r -> 'caps', r -> 'quiet'])
       AND NOT EXISTS (SELECT FROM ledger.suppressions s
                       WHERE s.address_digest = r ->> 'address_digest' AND s.lifted_at IS NULL)
       AND ((r ->> 'required')::boolean OR NOT EXISTS (
            SELECT FROM ledger.recipients t WHERE t.tenant = r ->> 'tenant' AND t.usr = r ->> 'user'
            AND t.profile -> 'preferences' <> '{}'));
$$;

-- Answers to the plain requests of a batch, each at its place; null at those of all others. Of an
-- account with a quota only those are plain that no other comes before, as cells are taken in order.
CREATE OR REPLACE FUNCTION ledger.claim_plain(requests jsonb, terms jsonb, now timestamptz)
RETURNS jsonb[] LANGUAGE plpgsql AS $$
DECLARE
    answers jsonb[];
    alike boolean := (SELECT count(DISTINCT (r ->> 'lane', r ->> 'ready_ms')) < 2
                      FROM jsonb_array_elements(requests) r);
    places integer[];
    claims uuid[];
    ids uuid[];
    found ledger.notifications[];
    deadlines timestamptz[];
    send_bys timestamptz[];
    opens timestamptz[];
    over_ats timestamptz[];
    account text;
    own integer[];
    cells record;
    a ledger.attempts;
    i integer;
BEGIN
    SELECT array_agg(y.place ORDER BY y.place), array_agg(y.claim_id ORDER BY y.place),
        array_agg((y.n).id ORDER BY y.place), array_agg(y.n ORDER BY y.place),
        array_agg(y.deadline ORDER BY y.place),
        array_agg(least(y.deadline, now + ledger.ms(y.lease_ms)) ORDER BY y.place)
    INTO places, claims, ids, found, deadlines, send_bys
    FROM (SELECT x.place::integer, (x.r ->> 'claim_id')::uuid AS claim_id, x.n, x.plain,
                 least((x.r ->> 'deadline')::timestamptz, (x.n).deadline) AS deadline,
                 least((x.r ->> 'lease_ms')::bigint,
                       (terms ->> 'longest_lease_ms')::bigint) AS lease_ms,
                 NOT terms -> 'quotas' ? (x.r ->> 'account')
                 OR alike AND bool_and(x.plain) OVER (PARTITION BY x.r ->> 'account'
                                                      ORDER BY x.place) AS in_order
          FROM (SELECT z.r, z.place, n,
                       -- of those of one key each has to see what the one before it did
                       count(*) OVER (PARTITION BY n.key) = 1
                       AND ledger.is_plain(n, k, z.r, terms, now) AS plain
                FROM jsonb_array_elements(requests) WITH ORDINALITY z (r, place)
                JOIN ledger.notifications n ON n.id = (z.r -> 'identity' ->> 'id')::uuid
                JOIN ledger.keys k ON k.key = n.key) x) y
    WHERE y.plain AND y.in_order;
    IF places IS NULL THEN
        RETURN NULL;
    END IF;
    opens := array_fill(NULL::timestamptz, ARRAY[cardinality(places)]);
    over_ats := opens;
    FOR account, own IN
        SELECT requests -> (place - 1) ->> 'account', array_agg(p.i::integer ORDER BY p.i)
        FROM unnest(places) WITH ORDINALITY p (place, i)
        WHERE terms -> 'quotas' ? (requests -> (place - 1) ->> 'account')
        GROUP BY 1
    LOOP
        SELECT t.* INTO cells FROM (
            SELECT array_agg((r ->> 'cost')::integer ORDER BY j) AS costs,
                   array_agg(ledger.latest_us(send_bys[own[j]], r, terms) ORDER BY j) AS latest,
                   bool_or(r ->> 'lane' = 'bulk') AS bulk, min((r ->> 'ready_ms')::bigint) AS ready
            FROM generate_subscripts(own, 1) j
            CROSS JOIN LATERAL (SELECT requests -> (places[own[j]] - 1)) x (r)) c
        CROSS JOIN LATERAL ledger.take_each(account, terms -> 'quotas' -> account, c.costs, c.bulk,
            ledger.to_us(now) + c.ready * 1000, c.latest, ledger.to_us(now)) t;
        FOR j IN 1 .. cardinality(own) LOOP
            i := own[j];
            IF cells.opens_us[j] IS NULL THEN
                answers[places[i]] := ledger.full(cells.again_us[j]);
                ids[i] := NULL;
                CONTINUE;
            END IF;
            opens[i] := ledger.from_us(cells.opens_us[j]);
            send_bys[i] := least(send_bys[i], ledger.from_us(cells.opens_us[j] + (terms
                -> 'quotas' -> account -> 'windows' -> 0 ->> 'cell_us')::bigint));
        END LOOP;
    END LOOP;
    FOR a IN
        INSERT INTO ledger.attempts (id, attempt, claim_id, key, leg, channel, account,
            reason, cost, claimed_at, opens_at, send_by, over_at, sequence, asks, awaits,
            within_ms, falls_back, address_digest, category, scopes)
        SELECT p.id, 1, p.claim_id, r -> 'identity' ->> 'key', (r ->> 'leg')::integer,
            r ->> 'channel', r ->> 'account', r ->> 'reason', (r ->> 'cost')::integer, now,
            p.opens_at, p.send_by, p.send_by + ledger.ms((r ->> 'timeout_ms')::bigint),
            nextval('ledger.grants'), (r ->> 'ask')::integer, r ->> 'awaits',
            (r ->> 'within_ms')::bigint, (r ->> 'falls_back')::boolean,
            coalesce(r ->> 'address_digest', ''), coalesce(r ->> 'category', ''), '{}'
        FROM unnest(places, claims, ids, send_bys, opens)
             AS p (place, claim_id, id, send_by, opens_at)
        CROSS JOIN LATERAL (SELECT requests -> (p.place - 1)) x (r)
        WHERE p.id IS NOT NULL ORDER BY p.place
        RETURNING *
    LOOP
        i := array_position(claims, a.claim_id);
        over_ats[i] := a.over_at;
        answers[places[i]] := ledger.granted(a, found[i], now);
    END LOOP;
    UPDATE ledger.notifications t SET attempts = 1, deadline = p.deadline
    FROM unnest(ids, deadlines) p (id, deadline) WHERE t.id = p.id;
    UPDATE ledger.keys t SET floor_generation = n.generation, floor_offset = n."offset",
        floor_id = n.id, open_claim = p.claim_id, open_until = p.over_at, touched_at = now
    FROM unnest(ids, claims, over_ats) p (id, claim_id, over_at)
    JOIN ledger.notifications n ON n.id = p.id
    WHERE t.key = n.key;
    RETURN answers;
END $$;

-- Whether what is settled was accepted, and is the end of its notification.
CREATE OR REPLACE FUNCTION ledger.is_plain_end(
    n ledger.notifications, k ledger.keys, a ledger.attempts, s jsonb
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT a.outcome IS NULL AND s -> 'outcome' ->> 'kind' = 'accepted'
       AND coalesce(s -> 'newer', 'null') = 'null' AND a.awaits = 'accepted'
       AND n.closed_as IS NULL AND NOT n.taken AND n.newer IS NULL
       AND ledger.cancelled(n, k) IS NULL;
$$;

-- Answers to the plain settlements of a batch, each at its place; null at those of all others.
CREATE OR REPLACE FUNCTION ledger.settle_plain(settlements jsonb, now timestamptz)
RETURNS jsonb[] LANGUAGE plpgsql AS $$
DECLARE
    answers jsonb[];
    places integer[];
    claims uuid[];
    ids uuid[];
    closed ledger.notifications[];
    n ledger.notifications;
    a ledger.attempts;
    i integer;
BEGIN
    SELECT array_agg(x.place ORDER BY x.place), array_agg(x.claim_id ORDER BY x.place),
        array_agg(x.id ORDER BY x.place)
    INTO places, claims, ids
    FROM (SELECT z.place::integer, e.claim_id, e.id,
                 count(*) OVER (PARTITION BY m.key) = 1
                 AND ledger.is_plain_end(m, k, e, z.s) AS plain
          FROM jsonb_array_elements(settlements) WITH ORDINALITY z (s, place)
          JOIN ledger.attempts e ON e.claim_id = (z.s ->> 'claim_id')::uuid
          JOIN ledger.notifications m ON m.id = e.id
          JOIN ledger.keys k ON k.key = m.key) x
    WHERE x.plain;
    IF places IS NULL THEN
        RETURN NULL;
    END IF;
    FOR n IN
        UPDATE ledger.notifications t SET closed_as = 'sent', closed_at = now,
            closed_detail = coalesce(settlements -> (p.place - 1) ->> 'verdict_detail', '')
        FROM unnest(places, ids) p (place, id) WHERE t.id = p.id
        RETURNING t.*
    LOOP
        closed[array_position(ids, n.id)] := n;
    END LOOP;
    FOR a IN
        UPDATE ledger.attempts t SET outcome = 'accepted', settled_at = now,
            code = coalesce(s -> 'outcome' ->> 'code', ''),
            detail = coalesce(s -> 'outcome' ->> 'detail', ''),
            provider_ref = s -> 'outcome' ->> 'provider_ref'
        FROM unnest(places, claims) p (place, claim_id)
        CROSS JOIN LATERAL (SELECT settlements -> (p.place - 1)) x (s)
        WHERE t.claim_id = p.claim_id
        RETURNING t.*
    LOOP
        i := array_position(claims, a.claim_id);
        answers[places[i]] := ledger.settled(a, closed[i]);
    END LOOP;
    UPDATE ledger.keys t SET open_claim = NULL, open_until = NULL, touched_at = now
    FROM unnest(ids, claims) p (id, claim_id)
    JOIN ledger.notifications m ON m.id = p.id
    WHERE t.key = m.key AND t.open_claim = p.claim_id;
    -- which a claim has raised already, unless its floor was lost
    UPDATE ledger.keys t SET floor_generation = m.generation, floor_offset = m."offset",
        floor_id = m.id
    FROM unnest(ids) p (id)
    JOIN ledger.notifications m ON m.id = p.id
    WHERE t.key = m.key AND (t.floor_generation, t.floor_offset) < (m.generation, m."offset");
    RETURN answers;
END $$;
