-- A row for each id, and its lock, in sorted order. The update never happens, but it locks.
INSERT INTO tracker.deliveries AS d (id)
SELECT id FROM unnest(%(ids)s::uuid[]) AS id ORDER BY id
ON CONFLICT (id) DO UPDATE SET id = d.id WHERE false
