CREATE SCHEMA tracker;

-- How far each partition is folded, moved by compare and set in the transaction of the rows.
CREATE TABLE tracker.offsets (
    topic_id  text   NOT NULL,
    partition int    NOT NULL,
    topic     text   NOT NULL,
    next      bigint NOT NULL,
    PRIMARY KEY (topic_id, partition)
);

-- Every entry of every timeline, once. The deliveries can be made again from these.
CREATE TABLE tracker.timeline (
    notification_id uuid        NOT NULL,
    event_id        uuid        NOT NULL,
    at              timestamptz NOT NULL,
    kind            text        NOT NULL,
    event           jsonb       NOT NULL,
    -- only of settled attempts, for receipts that carry no id of ours
    account         text,
    provider_ref    text,
    PRIMARY KEY (notification_id, event_id)
);
CREATE INDEX timeline_provider_ref ON tracker.timeline (account, left(provider_ref, 200))
    WHERE provider_ref IS NOT NULL;
-- What came second under an id names the first.
CREATE INDEX timeline_second ON tracker.timeline ((event ->> 'winner'), at)
    WHERE kind = 'closed: dead_lettered';

-- One row a notification. A row starts empty, as something to lock, and is filled in the same
-- transaction; `revision` grows with every change. Free space is left so that most updates stay
-- on their page and touch no index.
CREATE TABLE tracker.deliveries (
    id              uuid PRIMARY KEY,
    tenant          text,
    usr             text,
    type            text,
    key             text,
    requested_at    timestamptz,
    updated_at      timestamptz,
    status          text    NOT NULL DEFAULT 'queued',
    reason          text    NOT NULL DEFAULT '',
    detail          text    NOT NULL DEFAULT '',
    closed          boolean NOT NULL DEFAULT false,
    superseded_by   uuid,
    attempts        bigint     NOT NULL DEFAULT 0,
    channel         text,
    account         text,
    provider_ref    text,
    delivered_at    timestamptz,
    opened_at       timestamptz,
    clicked_at      timestamptz,
    complained_at   timestamptz,
    unsubscribed_at timestamptz,
    contradictions  int     NOT NULL DEFAULT 0,
    revision        bigint  NOT NULL DEFAULT 0
) WITH (fillfactor = 60);
-- Names come from producers and may be longer than an index entry may be.
CREATE INDEX deliveries_usr ON tracker.deliveries (left(usr, 200), requested_at DESC, id DESC)
    WHERE usr IS NOT NULL;
CREATE INDEX deliveries_key ON tracker.deliveries (left(key, 200), requested_at DESC, id DESC)
    WHERE usr IS NOT NULL;
CREATE INDEX deliveries_requested_at ON tracker.deliveries (requested_at DESC, id DESC)
    WHERE usr IS NOT NULL;

-- Notifications whose newest revision is not published yet. A crash leaves them here; publishing
-- one twice does no harm.
CREATE TABLE tracker.unpublished (
    notification_id uuid   PRIMARY KEY,
    revision        bigint NOT NULL
);
