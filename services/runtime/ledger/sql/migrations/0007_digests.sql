-- Items of digests are parked, with what their digest is made from.
ALTER TABLE ledger.parked
    -- tenant:user:type, as in keys; null: it is no item
    ADD COLUMN digest   text,
    ADD COLUMN asked_at timestamptz,
    ADD COLUMN request  jsonb,
    ADD COLUMN item     jsonb,
    ADD COLUMN window_ms bigint,
    ADD COLUMN at_most  integer;
CREATE INDEX parked_digest ON ledger.parked (digest) WHERE digest IS NOT NULL;

-- Digests that were asked for, until a lifetime later: whoever finds an item that is merged asks for
-- its digest again, which changes nothing.
CREATE TABLE ledger.digests (
    id      uuid PRIMARY KEY,
    request jsonb NOT NULL,
    at      timestamptz NOT NULL
);
CREATE INDEX digests_at ON ledger.digests (at);
