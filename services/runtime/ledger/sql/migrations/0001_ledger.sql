-- The ledger: what was claimed, what became of it, and how each notification ended. Its functions
-- alone write here, and lock in one order: accounts, keys, notifications, each sorted.

CREATE SCHEMA ledger;

-- A topic that is made anew has a new id, and its offsets start again: a higher generation.
CREATE TABLE ledger.generations (
    topic_id   text PRIMARY KEY,
    topic      text NOT NULL,
    generation integer NOT NULL,
    UNIQUE (topic, generation)
);

-- The lives of this server and these tables. A start, a promotion, a restored copy or dump is a new
-- one, in which nothing is granted until somebody has compared the ledger with the log.
CREATE TABLE ledger.lives (
    life         text PRIMARY KEY,
    -- a promotion begins another
    timeline     text NOT NULL,
    seen_at      timestamptz NOT NULL,
    confirmed_at timestamptz
);

-- Up to where all that the log says of claims and cancels is known to be in here.
CREATE TABLE ledger.offsets (
    topic     text,
    partition integer,
    "offset"  bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

CREATE SEQUENCE ledger.grants;

-- One row an account that has a quota: locking it is what makes its claimers take turns.
CREATE TABLE ledger.accounts (
    name         text PRIMARY KEY,
    -- for bulk and for the others: no earlier cell has room for even one
    full_to      bigint NOT NULL DEFAULT 0,
    full_to_bulk bigint NOT NULL DEFAULT 0,
    -- the largest J that anybody has measured of late, and until when it counts
    jitter_us    bigint NOT NULL DEFAULT 0,
    jitter_until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);

-- What was granted of an account's window, by cell: used[1] is that of cell number `first`.
CREATE TABLE ledger.cells (
    account text,
    per     text,
    first   bigint NOT NULL,
    used    integer[] NOT NULL,
    PRIMARY KEY (account, per)
) WITH (fillfactor = 50);

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
    open_until        timestamptz,
    -- when anything of it was last decided; not indexed, since it changes with every claim
    touched_at        timestamptz NOT NULL
);

-- One row a notification, from its first claim or close on, at the version it was first seen at.
CREATE TABLE ledger.notifications (
    id           uuid PRIMARY KEY,
    key          text NOT NULL,
    topic_id     text NOT NULL,
    partition    integer NOT NULL,
    generation   integer NOT NULL,
    "offset"     bigint NOT NULL,
    -- of its body, where that is known: an id stands for one body
    digest       text NOT NULL DEFAULT '',
    attempts     integer NOT NULL DEFAULT 0,
    -- of its first claim: a repeat of its record was appended later, and counts from later
    deadline     timestamptz,
    -- an attempt was proved to be taken while a later one was open
    taken        boolean NOT NULL DEFAULT false,
    -- the newest of its key that came while it was in flight
    newer        uuid,
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

-- by id: what an index is of must not change with every verdict
CREATE INDEX notifications_unannounced ON ledger.notifications (id) WHERE NOT announced;

CREATE TABLE ledger.attempts (
    -- the notification's
    id              uuid NOT NULL,
    attempt         integer NOT NULL,
    claim_id        uuid NOT NULL UNIQUE,
    key             text NOT NULL,
    leg             integer NOT NULL,
    channel         text NOT NULL,
    account         text NOT NULL,
    reason          text NOT NULL,
    cost            integer NOT NULL,
    claimed_at      timestamptz NOT NULL,
    -- of an account with a quota: no first byte leaves before this
    opens_at        timestamptz,
    -- no first byte leaves after this
    send_by         timestamptz NOT NULL,
    -- after this nobody can still be sending, and another may call it unknown
    over_at         timestamptz NOT NULL,
    sequence        bigint NOT NULL,
    -- how often its maker had asked for it, as far as is known
    asks            integer NOT NULL DEFAULT 1,
    outcome         text,
    settled_at      timestamptz,
    code            text NOT NULL DEFAULT '',
    detail          text NOT NULL DEFAULT '',
    provider_ref    text,
    -- unknown, and reconciling has ended without an answer: a type that repeats may
    ended           boolean NOT NULL DEFAULT false,
    PRIMARY KEY (id, attempt)
);

-- Notifications that wait and that no record of the log holds any more, with their proposals.
CREATE TABLE ledger.parked (
    id        uuid PRIMARY KEY,
    -- of its proposal; whoever has this partition resumes it
    topic     text NOT NULL,
    partition integer NOT NULL,
    body      bytea NOT NULL,
    -- when it may go on; null while reconciling goes on
    due_at    timestamptz
);
CREATE INDEX parked_due ON ledger.parked (topic, partition, due_at) WHERE due_at IS NOT NULL;

-- what the sweeper looks for: open, or not known
CREATE INDEX attempts_open ON ledger.attempts (over_at) WHERE outcome IS NULL;
CREATE INDEX attempts_unknown ON ledger.attempts (settled_at) WHERE outcome = 'unknown';
