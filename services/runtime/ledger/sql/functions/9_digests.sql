-- Digests. Of a group, tenant:user:type, one transaction at a time puts items away or takes them out:
-- under its lock, taken as those of recipients are. Items are closed in the transaction that keeps the
-- request of their digest, so none is lost between the two or is in both.

CREATE OR REPLACE FUNCTION ledger.lock_digest(p_group text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(p_group, 1));
$$;

-- collect: [{parked, group, window_ms, most, asked_at, request, item}]; in order, whether each is kept.
CREATE OR REPLACE FUNCTION ledger.collect(items jsonb) RETURNS SETOF boolean LANGUAGE plpgsql AS $$
DECLARE
    rows jsonb := jsonb_path_query_array(items, '$[*].parked');
    now timestamptz;
    c jsonb;
    own text;
BEGIN
    PERFORM ledger.require_life();
    FOR own IN SELECT DISTINCT i ->> 'group' FROM jsonb_array_elements(items) i ORDER BY 1 LOOP
        PERFORM ledger.lock_digest(own);
    END LOOP;
    now := ledger.lock_rows(jsonb_path_query_array(rows, '$[*].identity ? (@.type() == "object")'));
    PERFORM ledger.put_away(ledger.first_of(rows), now);
    FOR c IN SELECT value FROM jsonb_array_elements(items) LOOP
        CONTINUE WHEN ledger.is_second(c -> 'parked');
        UPDATE ledger.parked p SET digest = c ->> 'group', request = c -> 'request',
            asked_at = (c ->> 'asked_at')::timestamptz, item = c -> 'item',
            window_ms = (c ->> 'window_ms')::bigint, at_most = (c ->> 'most')::integer
        WHERE p.id = (c -> 'parked' ->> 'id')::uuid;
    END LOOP;
    FOR own IN SELECT DISTINCT i ->> 'group' FROM jsonb_array_elements(items) i ORDER BY 1 LOOP
        PERFORM ledger.set_due(own, now);
    END LOOP;
    RETURN QUERY SELECT NOT ledger.is_second(r) FROM jsonb_array_elements(rows)
                 WITH ORDINALITY x (r, place) ORDER BY place;
END $$;

-- When the digest of a group is due: at the end of the window of its first item, or at once with as
-- many as there may be. What has its verdict is left to whoever gave it that, for a while.
CREATE OR REPLACE FUNCTION ledger.set_due(p_group text, now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    due timestamptz;
BEGIN
    SELECT CASE WHEN count(*) >= min(p.at_most) THEN now
                ELSE greatest(now, min(p.asked_at + ledger.ms(p.window_ms))) END INTO due
    FROM ledger.parked p JOIN ledger.notifications n ON n.id = p.id
    WHERE p.digest = p_group AND n.closed_as IS NULL;
    UPDATE ledger.parked p SET due_at = CASE WHEN n.closed_as IS NULL THEN due
                                        ELSE now + interval '10 s' END
    FROM ledger.notifications n WHERE p.digest = p_group AND n.id = p.id;
END $$;

-- merge: what became of an item that may go on. See core.digests.MergeAnswer.
CREATE OR REPLACE FUNCTION ledger.merge(p_id text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    own ledger.parked;
    n ledger.notifications;
    now timestamptz;
BEGIN
    PERFORM ledger.require_life();
    SELECT * INTO own FROM ledger.parked p WHERE p.id = p_id::uuid;
    IF own.digest IS NULL THEN
        n := ledger.notification(p_id::uuid);
        RETURN CASE WHEN n.closed_as IS NULL THEN jsonb_build_object('unknown', true)
                    ELSE ledger.merged(n) END;
    END IF;
    PERFORM ledger.lock_digest(own.digest);
    now := ledger.lock_rows((
        SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'key', t.key)), '[]')
        FROM ledger.parked p JOIN ledger.notifications t ON t.id = p.id
        WHERE p.digest = own.digest));
    n := ledger.notification(p_id::uuid);
    IF n.closed_as IS NOT NULL THEN
        RETURN ledger.merged(n);
    END IF;
    RETURN ledger.merge_due(own.digest, now);
END $$;

-- Of one that has its verdict: that, and the request of its digest, if it is in one.
CREATE OR REPLACE FUNCTION ledger.merged(n ledger.notifications) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('closings', jsonb_build_array(ledger.closing(n)), 'request',
        (SELECT d.request FROM ledger.digests d WHERE n.closed_as = 'merged' AND d.id = n.winner));
$$;

CREATE OR REPLACE FUNCTION ledger.merge_due(p_group text, now timestamptz) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    n ledger.notifications;
    closings jsonb := '[]';
    ids uuid[];
    own_id uuid;
    asked jsonb;
    items jsonb;
    due timestamptz;
BEGIN
    -- what was cancelled is in no digest
    FOR n IN SELECT t.* FROM ledger.parked p JOIN ledger.notifications t ON t.id = p.id
             WHERE p.digest = p_group AND t.closed_as IS NULL ORDER BY t.id
    LOOP
        IF ledger.cancelled(n, ledger.key(n.key)) IS NOT NULL THEN
            n := ledger.put_closing(n, 'cancelled', ledger.cancelled(n, ledger.key(n.key)), NULL, now);
            closings := closings || ledger.closing(n);
        END IF;
    END LOOP;
    SELECT CASE WHEN count(*) >= min(p.at_most) THEN now
                ELSE min(p.asked_at + ledger.ms(p.window_ms)) END,
           (array_agg(p.id ORDER BY p.asked_at, p.id))[:min(p.at_most)]
    INTO due, ids
    FROM ledger.parked p JOIN ledger.notifications t ON t.id = p.id
    WHERE p.digest = p_group AND t.closed_as IS NULL;
    IF due > now OR ids IS NULL THEN
        PERFORM ledger.set_due(p_group, now);
        RETURN jsonb_build_object('closings', closings);
    END IF;
    own_id := ledger.digest_id(ids);
    SELECT jsonb_agg(p.item ORDER BY p.asked_at, p.id),
           (array_agg(p.request ORDER BY p.asked_at DESC, p.id DESC))[1]
    INTO items, asked FROM ledger.parked p WHERE p.id = ANY (ids);
    asked := asked || jsonb_build_object('id', own_id, 'merges', cardinality(ids),
        'data', jsonb_build_object('items', items, 'count', cardinality(ids)));
    INSERT INTO ledger.digests (id, request, at) VALUES (own_id, asked, now) ON CONFLICT DO NOTHING;
    FOR n IN SELECT t.* FROM unnest(ids) WITH ORDINALITY x (id, place)
             JOIN ledger.notifications t USING (id) ORDER BY place
    LOOP
        n := ledger.put_closing(n, 'merged', '', own_id, now);
        closings := closings || ledger.closing(n);
    END LOOP;
    PERFORM ledger.set_due(p_group, now);
    RETURN jsonb_build_object('closings', closings, 'request', asked);
END $$;

-- The same for the same items, in whatever order.
CREATE OR REPLACE FUNCTION ledger.digest_id(ids uuid[]) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT overlay(overlay(left(encode(sha256(convert_to(
        (SELECT string_agg(i::text, ',' ORDER BY i::text COLLATE "C") FROM unnest(ids) i), 'UTF8')),
        'hex'), 32) PLACING '8' FROM 13 FOR 1) PLACING '8' FROM 17 FOR 1)::uuid;
$$;
