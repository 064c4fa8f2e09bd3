-- One request to a list goes through it page by page. What was asked for is acknowledged before the
-- cursor moves, and that moves by compare and set: of two who go through one list, one goes on.

-- fold_members: [{tenant, list, user, is_on, to, topic_id, offset}], one for each member, and offsets
-- as those of profiles.
CREATE OR REPLACE FUNCTION ledger.fold_members(changes jsonb, offsets jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.list_members AS t (tenant, list, usr, addresses, topic_id, "offset")
    SELECT c ->> 'tenant', c ->> 'list', c ->> 'user', nullif(c -> 'to', 'null'),
        c ->> 'topic_id', (c ->> 'offset')::bigint
    FROM jsonb_array_elements(changes) c WHERE (c ->> 'is_on')::boolean
    ORDER BY 1, 2, 3
    ON CONFLICT (tenant, list, usr) DO UPDATE
    SET addresses = excluded.addresses, topic_id = excluded.topic_id, "offset" = excluded."offset"
    WHERE t.topic_id <> excluded.topic_id OR t."offset" < excluded."offset";
    DELETE FROM ledger.list_members t USING jsonb_array_elements(changes) c
    WHERE NOT (c ->> 'is_on')::boolean AND t.tenant = c ->> 'tenant' AND t.list = c ->> 'list'
      AND t.usr = c ->> 'user'
      AND (t.topic_id <> c ->> 'topic_id' OR t."offset" < (c ->> 'offset')::bigint);
    PERFORM ledger.move_profile_offsets(offsets);
    RETURN true;
END $$;

-- members: [user, addresses] of a list, by user, after one of them.
CREATE OR REPLACE FUNCTION ledger.members(p_tenant text, p_list text, p_after text, most integer)
RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('user', m.usr, 'to', m.addresses) FROM ledger.list_members m
    WHERE m.tenant = p_tenant AND m.list = p_list AND m.usr > p_after
    ORDER BY m.usr LIMIT most;
$$;

CREATE OR REPLACE FUNCTION ledger.cursor_of(p_id text) RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(p.cursor) FROM ledger.parked p WHERE p.id = p_id::uuid;
$$;

-- fan_out: {identity, expected, cursor, count, last}; not handed out to others before `lease_ms` are
-- over.
CREATE OR REPLACE FUNCTION ledger.fan_out(s jsonb, lease_ms integer) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz;
    n ledger.notifications;
    k ledger.keys;
    p ledger.parked;
    verdict text;
    detail text;
    winner uuid;
BEGIN
    PERFORM ledger.require_life();
    now := ledger.lock_rows(jsonb_build_array(s -> 'identity'));
    n := ledger.notification((s -> 'identity' ->> 'id')::uuid);
    IF ledger.conflict(n, s -> 'identity') IS NOT NULL THEN
        RETURN '{}';
    ELSIF n.closed_as IS NOT NULL THEN
        RETURN jsonb_build_object('closing', ledger.closing(n));
    END IF;
    k := ledger.key(n.key);
    detail := ledger.cancelled(n, k);
    IF detail IS NOT NULL THEN
        verdict := 'cancelled';
    ELSIF (n.generation, n."offset") < (k.floor_generation, k.floor_offset) THEN
        verdict := 'superseded';
        detail := 'a newer one went first';
        winner := k.floor_id;
    ELSIF now >= n.deadline THEN
        verdict := 'expired';
        detail := 'its deadline came first';
    END IF;
    UPDATE ledger.parked t SET cursor = s ->> 'cursor', fanned = fanned + (s ->> 'count')::bigint,
        due_at = now + ledger.ms(lease_ms)
    WHERE t.id = n.id AND t.cursor = s ->> 'expected' RETURNING * INTO p;
    IF p.id IS NULL AND verdict IS NULL THEN
        RETURN '{}';
    ELSIF verdict IS NULL AND (s ->> 'last')::boolean THEN
        verdict := 'fanned_out';
        detail := 'to ' || p.fanned;
    ELSIF verdict IS NOT NULL AND p.fanned > 0 THEN
        detail := detail || '; ' || p.fanned || ' had been asked for';
    END IF;
    IF verdict IS NOT NULL THEN
        n := ledger.put_closing(n, verdict, detail, winner, now);
    END IF;
    RETURN jsonb_build_object('moved', p.id IS NOT NULL, 'closing', ledger.closing(n));
END $$;
