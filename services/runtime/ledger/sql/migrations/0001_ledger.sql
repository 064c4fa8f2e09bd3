-- The ledger: what was claimed, what became of it, and how each notification ended.

CREATE SCHEMA ledger;

-- A topic that is made anew has a new id, and its offsets start again: a higher generation.
CREATE TABLE ledger.generations (
    topic_id   text PRIMARY KEY,
    topic      text NOT NULL,
    generation integer NOT NULL,
    UNIQUE (topic, generation)
);

CREATE SEQUENCE ledger.grants;

-- One row a supersession key. A version is (generation, offset).
CREATE TABLE ledger.keys (
    key               text PRIMARY KEY,
    -- the newest version that was claimed or closed, and whose it is
    floor_generation  integer NOT NULL DEFAULT -1,
    floor_offset      bigint NOT NULL DEFAULT -1,
    floor_id          uuid,
    -- versions up to this one are cancelled
    cancel_generation integer NOT NULL DEFAULT -1,
    cancel_offset     bigint NOT NULL DEFAULT -1,
    -- ids cancelled by name: no further attempt, whatever becomes of one that is under way
    cancelled         uuid[] NOT NULL DEFAULT '{}',
    -- the claim that nobody has settled, and until when it keeps the others out
    open_claim        uuid,
    open_until        timestamptz
);

-- One row a notification, from its first claim or close on, at the version it was first seen at.
CREATE TABLE ledger.notifications (
    id           uuid PRIMARY KEY,
    key          text NOT NULL,
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    generation   integer NOT NULL,
    "offset"     bigint NOT NULL,
    attempts     integer NOT NULL DEFAULT 0,
    closed_as    text,
    closed_at    timestamptz,
    closed_detail text NOT NULL DEFAULT '',
    winner       uuid,
    -- where the winner stood in the log
    winner_topic_id  text,
    winner_partition integer,
    winner_offset    bigint,
    -- no record of the log is left to lead to this verdict again: false until it is published
    announced    boolean NOT NULL DEFAULT true
);

CREATE INDEX notifications_unannounced ON ledger.notifications (closed_at) WHERE NOT announced;

CREATE TABLE ledger.attempts (
    notification_id uuid NOT NULL REFERENCES ledger.notifications,
    attempt         integer NOT NULL,
    claim_id        uuid NOT NULL UNIQUE,
    key             text NOT NULL,
    leg             integer NOT NULL,
    channel         text NOT NULL,
    account         text NOT NULL,
    reason          text NOT NULL,
    claimed_at      timestamptz NOT NULL,
    -- no first byte leaves after this
    send_by         timestamptz NOT NULL,
    -- after this nobody can still be sending, and another may call it unknown
    over_at         timestamptz NOT NULL,
    sequence        bigint NOT NULL,
    outcome         text,
    settled_at      timestamptz,
    code            text NOT NULL DEFAULT '',
    detail          text NOT NULL DEFAULT '',
    provider_ref    text,
    PRIMARY KEY (notification_id, attempt)
);

-- what the sweeper looks for: open, or not known
CREATE INDEX attempts_open ON ledger.attempts (over_at) WHERE outcome IS NULL;
CREATE INDEX attempts_unknown ON ledger.attempts (settled_at) WHERE outcome = 'unknown';
