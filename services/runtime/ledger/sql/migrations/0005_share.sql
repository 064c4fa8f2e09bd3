-- How much of an account's quota is used, in thousandths, since its provider throttled; and when it
-- was so little, in microseconds since the epoch.
ALTER TABLE ledger.accounts
    ADD COLUMN share    integer NOT NULL DEFAULT 1000,
    ADD COLUMN share_us bigint NOT NULL DEFAULT 0;
