-- Who is on which list, as the log has it.
CREATE TABLE ledger.list_members (
    tenant   text COLLATE "C",
    list     text COLLATE "C",
    usr      text COLLATE "C",
    -- null: as their profile says
    addresses jsonb,
    topic_id text NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (tenant, list, usr)
);

ALTER TABLE ledger.parked
    -- of one to a list: up to whom it is fanned out, and to how many
    ADD COLUMN cursor text NOT NULL DEFAULT '',
    ADD COLUMN fanned bigint NOT NULL DEFAULT 0;
