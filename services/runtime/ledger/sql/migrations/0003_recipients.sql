-- Recipients, as the log has them: what a profile says of somebody, and where it stands.
CREATE TABLE ledger.recipients (
    tenant    text,
    usr       text,
    -- {to, locale, time_zone, preferences}, without what is not said
    profile   jsonb NOT NULL,
    topic_id  text NOT NULL,
    "offset"  bigint NOT NULL,
    PRIMARY KEY (tenant, usr)
);

-- Up to where the topic of profiles is in here.
CREATE TABLE ledger.recipient_offsets (
    topic_id  text,
    partition integer,
    next      bigint NOT NULL,
    PRIMARY KEY (topic_id, partition)
);

-- Addresses that are not written to again, by their digests. One that is lifted stays, so that no
-- receipt of what was sent before brings it back.
CREATE TABLE ledger.suppressions (
    address_digest  text,
    -- or *, for all
    category        text,
    -- the receipt that said so, and whose it was
    kind            text NOT NULL,
    notification_id uuid NOT NULL,
    attempt         integer NOT NULL,
    -- when that attempt was claimed
    claimed_at      timestamptz NOT NULL,
    since           timestamptz NOT NULL,
    lifted_at       timestamptz,
    PRIMARY KEY (address_digest, category)
);

ALTER TABLE ledger.attempts
    -- of its address, and what its recipient can unsubscribe from by it
    ADD COLUMN address_digest text NOT NULL DEFAULT '',
    ADD COLUMN category       text NOT NULL DEFAULT '';
