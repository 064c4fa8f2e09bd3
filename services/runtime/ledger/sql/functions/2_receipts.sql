-- Legs that await their receipt. An attempt of one that was accepted, or that nobody can tell the
-- outcome of, is followed by the next leg once its provider is known to have given up, or when its
-- time is over without the receipt. Rows of `receipts` are locked after notifications, and sorted.

CREATE OR REPLACE FUNCTION ledger.level(p_success text) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_success WHEN 'delivered' THEN 1 WHEN 'seen' THEN 2 ELSE 0 END::smallint;
$$;

CREATE OR REPLACE FUNCTION ledger.receipt_of(a ledger.attempts) RETURNS ledger.receipts
LANGUAGE sql STABLE AS $$
    SELECT r FROM ledger.receipts r
    WHERE r.id = a.id AND r.attempt = a.attempt AND r.account = a.account;
$$;

-- Nothing can be sent after the deadline, so nothing is waited for after it.
CREATE OR REPLACE FUNCTION ledger.awaited_until(a ledger.attempts, n ledger.notifications)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(a.settled_at + ledger.ms(a.within_ms), n.deadline);
$$;

-- How it stands with the receipt of an attempt: 'reached', 'bounced', 'missed' or 'awaited'; null
-- where none is awaited, or not yet.
CREATE OR REPLACE FUNCTION ledger.awaited(
    a ledger.attempts, n ledger.notifications, now timestamptz
) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    r ledger.receipts;
BEGIN
    IF a.awaits = 'accepted' OR a.outcome IS NULL OR a.outcome NOT IN ('accepted', 'unknown') THEN
        RETURN NULL;
    END IF;
    r := ledger.receipt_of(a);
    RETURN CASE WHEN r.reached >= ledger.level(a.awaits) THEN 'reached'
                WHEN r.gave_up <> '' THEN 'bounced'
                WHEN now >= ledger.awaited_until(a, n) THEN 'missed'
                ELSE 'awaited' END;
END $$;

-- Whether the end of its wait decides, rather than reconciling.
CREATE OR REPLACE FUNCTION ledger.goes_on(a ledger.attempts) RETURNS boolean LANGUAGE sql IMMUTABLE
AS $$
    SELECT a.falls_back OR a.outcome = 'accepted';
$$;

-- Whether an attempt that may have been taken stands in nobody's way any more. On the last leg an
-- unknown one whose receipt is missing is reconciled, as any other.
CREATE OR REPLACE FUNCTION ledger.is_past(
    a ledger.attempts, n ledger.notifications, now timestamptz
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE ledger.awaited(a, n, now)
           WHEN 'bounced' THEN true
           WHEN 'missed' THEN ledger.goes_on(a)
           ELSE false END;
$$;

-- The verdict of a notification whose last attempt leaves no leg to go on with, or needs none.
CREATE OR REPLACE FUNCTION ledger.spent(
    n ledger.notifications, now timestamptz, OUT verdict text, OUT detail text
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    a ledger.attempts;
BEGIN
    SELECT * INTO a FROM ledger.attempts t WHERE t.id = n.id AND t.attempt = n.attempts;
    detail := '';
    IF ledger.awaited(a, n, now) = 'reached' THEN
        verdict := 'sent';
        detail := ledger.told_by_receipt(a);
    ELSIF NOT a.falls_back AND ledger.is_past(a, n, now) THEN
        verdict := 'failed';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.told_by_receipt(a ledger.attempts) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'its receipt came: attempt ' || a.attempt || ' was ' || a.awaits;
$$;

-- What attempts that were taken make of a verdict that says nothing was sent. One that is not known
-- to have come back is enough for sent; an unknown one that no receipt proves makes it unknown; and
-- it has failed once whatever was taken came back.
CREATE OR REPLACE FUNCTION ledger.in_truth(
    n ledger.notifications, resolves boolean, INOUT verdict text, INOUT detail text
) LANGUAGE plpgsql STABLE AS $$
DECLARE
    is_out boolean;
    is_doubtful boolean;
    gave_up text;
BEGIN
    SELECT bool_or(a.awaits <> 'accepted' AND coalesce(r.gave_up, '') = ''
                   AND (a.outcome = 'accepted' OR r.id IS NOT NULL)),
           bool_or(a.outcome = 'unknown' AND (a.awaits = 'accepted' OR r.id IS NULL)),
           (array_agg(r.gave_up ORDER BY a.attempt DESC)
            FILTER (WHERE a.awaits <> 'accepted' AND r.gave_up <> ''))[1]
    INTO is_out, is_doubtful, gave_up
    FROM ledger.attempts a
    LEFT JOIN ledger.receipts r ON r.id = a.id AND r.attempt = a.attempt AND r.account = a.account
    WHERE a.id = n.id AND a.outcome IN ('accepted', 'unknown');
    IF is_out THEN
        verdict := 'sent';
        detail := concat_ws('; ', 'no receipt came', nullif(detail, ''));
    ELSIF is_doubtful AND NOT resolves AND verdict <> 'unknown' THEN
        verdict := 'unknown';
        detail := concat_ws('; ', 'an attempt may have been taken', nullif(detail, ''));
    ELSIF gave_up IS NOT NULL AND verdict <> 'unknown' THEN
        verdict := 'failed';
        detail := concat_ws('; ', gave_up, nullif(detail, ''));
    END IF;
END $$;

-- What the receipt of an attempt that is settled makes of its notification.
CREATE OR REPLACE FUNCTION ledger.heed(
    n ledger.notifications, a ledger.attempts, now timestamptz, resolves boolean
) RETURNS ledger.notifications LANGUAGE plpgsql AS $$
DECLARE
    state text := ledger.awaited(a, n, now);
    verdict text;
    detail text;
BEGIN
    IF n.closed_as IS NOT NULL THEN
        RETURN n;
    ELSIF state = 'reached' THEN
        RETURN ledger.prove_taken(n, a, ledger.told_by_receipt(a), now, resolves);
    ELSIF state = 'bounced' AND a.attempt = n.attempts AND NOT a.falls_back THEN
        -- this answers no attempt that is unknown
        SELECT * INTO verdict, detail FROM ledger.in_truth(n, false, 'failed', '');
        RETURN ledger.put_closing(n, verdict, CASE verdict WHEN 'failed' THEN '' ELSE detail END,
                                  NULL, now, resolves);
    ELSIF state = 'bounced' AND a.attempt = n.attempts THEN
        PERFORM ledger.make_due(n.id, now);
    END IF;
    RETURN n;
END $$;

-- A look-up has found it: as good as a receipt that says no more than that it was accepted.
CREATE OR REPLACE FUNCTION ledger.note_taken(a ledger.attempts, now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger.receipts (id, attempt, account, reached, received_at)
    VALUES (a.id, a.attempt, a.account, 0, now)
    ON CONFLICT DO NOTHING;
$$;

-- When a notification that is parked may go on because of a receipt; null where none is awaited.
CREATE OR REPLACE FUNCTION ledger.awaited_due(p_id uuid, now timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE ledger.awaited(a, n, now)
           WHEN 'awaited' THEN CASE WHEN ledger.goes_on(a) THEN ledger.awaited_until(a, n) END
           WHEN 'missed' THEN CASE WHEN ledger.goes_on(a) THEN now END
           ELSE now END
    FROM ledger.notifications n JOIN ledger.attempts a ON a.id = n.id AND a.attempt = n.attempts
    WHERE n.id = p_id AND n.closed_as IS NULL AND ledger.awaited(a, n, now) IS NOT NULL;
$$;

-- receive: [{id, attempt, account, kind, reached, gave_up}]; the closings that follow, by id. Of attempts
-- that await none nothing is kept, and of those that are not known yet everything. While this life is
-- not confirmed they are only kept: whatever is parked is looked at then.
CREATE OR REPLACE FUNCTION ledger.receive(receipts jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    heard jsonb := (
        SELECT coalesce(jsonb_agg(e ORDER BY place), '[]')
        FROM jsonb_array_elements(receipts) WITH ORDINALITY x (e, place)
        WHERE NOT EXISTS (SELECT FROM ledger.attempts a WHERE a.id = (e ->> 'id')::uuid
                          AND a.attempt = (e ->> 'attempt')::bigint AND a.awaits = 'accepted'));
BEGIN
    PERFORM ledger.suppress(receipts, ledger.now());
    IF heard = '[]' THEN
        RETURN;
    END IF;
    IF NOT ledger.is_confirmed() THEN
        PERFORM ledger.put_receipts(heard, ledger.now());
        RETURN;
    END IF;
    now := ledger.lock_rows((
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'key', n.key)), '[]')
        FROM ledger.notifications n
        WHERE n.id IN (SELECT (e ->> 'id')::uuid FROM jsonb_array_elements(heard) e)));
    PERFORM ledger.put_receipts(heard, now);
    RETURN QUERY SELECT ledger.heed_one(i.id, i.attempt, now)
        FROM (SELECT DISTINCT (e ->> 'id')::uuid AS id, (e ->> 'attempt')::bigint AS attempt
              FROM jsonb_array_elements(heard) e ORDER BY 1, 2) i;
END $$;

-- The furthest that each has come, and the first word of its provider's giving up.
CREATE OR REPLACE FUNCTION ledger.put_receipts(heard jsonb, now timestamptz) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO ledger.receipts AS t (id, attempt, account, reached, gave_up, received_at)
    SELECT (e ->> 'id')::uuid, (e ->> 'attempt')::bigint, e ->> 'account',
        max((e ->> 'reached')::smallint),
        coalesce((array_agg(e ->> 'gave_up' ORDER BY place)
                  FILTER (WHERE e ->> 'gave_up' <> ''))[1], ''), now
    FROM jsonb_array_elements(heard) WITH ORDINALITY x (e, place)
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (id, attempt, account) DO UPDATE
    SET reached = greatest(t.reached, excluded.reached),
        gave_up = coalesce(nullif(t.gave_up, ''), excluded.gave_up);
$$;

CREATE OR REPLACE FUNCTION ledger.heed_one(p_id uuid, p_attempt bigint, now timestamptz)
RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
    a ledger.attempts;
    n ledger.notifications := ledger.notification(p_id);
BEGIN
    SELECT * INTO a FROM ledger.attempts t WHERE t.id = p_id AND t.attempt = p_attempt;
    IF a.id IS NULL OR n.closed_as IS NOT NULL THEN
        RETURN;
    END IF;
    n := ledger.heed(n, a, now, true);
    IF n.closed_as IS NOT NULL THEN
        RETURN NEXT ledger.closing(n);
    END IF;
END $$;
