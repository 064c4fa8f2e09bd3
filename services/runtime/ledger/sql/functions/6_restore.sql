-- A ledger that was set back: restored, or promoted without its last commits. No setting of the
-- server tells (a restored copy keeps its system id and its timeline), but none of it happens within
-- one life of the server's process and of these tables. So each life has to be confirmed, by who has
-- compared the ledger with the log, before anything is decided in it.

CREATE OR REPLACE FUNCTION ledger.life() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT extract(epoch FROM pg_postmaster_start_time()) || '/'
           || 'ledger.attempts'::regclass::oid || '/' || pg_relation_filenode('ledger.attempts');
$$;

CREATE OR REPLACE FUNCTION ledger.require_life() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM ledger.lives l
                   WHERE l.life = ledger.life() AND l.confirmed_at IS NOT NULL) THEN
        RAISE EXCEPTION 'the ledger was not compared with the log since it started'
            USING ERRCODE = 'LW001';
    END IF;
END $$;

-- This life, noted if it is new: whether it is confirmed, how long it has been known to anybody, and
-- how long the server has been up; in milliseconds.
CREATE OR REPLACE FUNCTION ledger.live() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.lives (life, seen_at) VALUES (ledger.life(), ledger.now())
    ON CONFLICT DO NOTHING;
    RETURN (SELECT jsonb_build_object('life', l.life, 'confirmed', l.confirmed_at IS NOT NULL,
        'seen_ms', floor(1000 * extract(epoch FROM ledger.now() - l.seen_at))::bigint)
        FROM ledger.lives l WHERE l.life = ledger.life());
END $$;

CREATE OR REPLACE FUNCTION ledger.confirm(p_life text) RETURNS boolean LANGUAGE sql AS $$
    UPDATE ledger.lives SET confirmed_at = ledger.now()
    WHERE life = p_life AND p_life = ledger.life() AND confirmed_at IS NULL
    RETURNING true;
$$;

CREATE OR REPLACE FUNCTION ledger.read_offsets() RETURNS SETOF jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('topic', o.topic, 'partition', o.partition, 'offset', o."offset")
    FROM ledger.offsets o ORDER BY 1;
$$;

CREATE OR REPLACE FUNCTION ledger.confirm_now() RETURNS boolean LANGUAGE sql AS $$
    SELECT ledger.confirm(ledger.life());
$$;
