-- Of a leg that awaits its receipt: an accepted attempt does not end the notification.
ALTER TABLE ledger.attempts
    -- its leg has succeeded only with this
    ADD COLUMN awaits     text NOT NULL DEFAULT 'accepted',
    -- from its settlement on, in milliseconds
    ADD COLUMN within_ms  bigint NOT NULL DEFAULT 0,
    -- without the receipt another leg has its turn
    ADD COLUMN falls_back boolean NOT NULL DEFAULT false;

-- What providers have reported of attempts that await a receipt. A receipt may come before its
-- attempt is settled, and whoever sends a false one may name an attempt that does not exist.
CREATE TABLE ledger.receipts (
    id          uuid NOT NULL,
    attempt     bigint NOT NULL,
    -- of another account than the attempt's own it says nothing
    account     text NOT NULL,
    -- how far the message is known to have come: 0 accepted, 1 delivered, 2 seen
    reached     smallint NOT NULL,
    -- the receipt that says that the provider gave up
    gave_up     text NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL,
    PRIMARY KEY (id, attempt, account)
);
CREATE INDEX receipts_received ON ledger.receipts (received_at);
