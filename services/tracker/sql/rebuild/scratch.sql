-- Tables of this session alone, like the live ones, and what comparing them needs.
CREATE TEMP TABLE offsets (LIKE tracker.offsets INCLUDING ALL);
CREATE TEMP TABLE timeline (LIKE tracker.timeline INCLUDING ALL);
CREATE TEMP TABLE deliveries (LIKE tracker.deliveries INCLUDING ALL);
CREATE TEMP TABLE unpublished (LIKE tracker.unpublished INCLUDING ALL);

-- The notifications that are compared.
CREATE TEMP TABLE compared (id uuid PRIMARY KEY);
-- A hash of each of their rows, by table.
CREATE TEMP TABLE hashes (tbl text, live boolean, id uuid, event_id uuid, hash text);
-- Those that have a row which is not the same on both sides.
CREATE TEMP TABLE differing (id uuid PRIMARY KEY);
