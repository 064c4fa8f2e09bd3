-- What recipients had, where that is capped: of which notifications an attempt was granted, and when.
CREATE TABLE ledger.had (
    -- tenant:user, as in keys
    recipient       text,
    -- type:name or category:name
    scope           text,
    notification_id uuid,
    at              timestamptz NOT NULL,
    PRIMARY KEY (recipient, scope, notification_id)
);
CREATE INDEX had_notification ON ledger.had (notification_id);
CREATE INDEX had_at ON ledger.had (at);

ALTER TABLE ledger.attempts
    -- in which its notification counts
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{}';
