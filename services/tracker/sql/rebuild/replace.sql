-- A revision only grows, whatever was published of a row that is gone: by how much, says nothing.
UPDATE pg_temp.deliveries AS r SET revision = coalesce(
    (SELECT l.revision + 1 FROM tracker.deliveries AS l WHERE l.id = r.id),
    floor(1000 * extract(epoch FROM clock_timestamp()))::bigint)
FROM pg_temp.differing AS x WHERE x.id = r.id;

DELETE FROM tracker.timeline AS t USING pg_temp.differing AS x WHERE t.notification_id = x.id;
INSERT INTO tracker.timeline
SELECT t.* FROM pg_temp.timeline AS t JOIN pg_temp.differing AS x ON x.id = t.notification_id;

DELETE FROM tracker.deliveries AS d USING pg_temp.differing AS x WHERE d.id = x.id;
INSERT INTO tracker.deliveries
SELECT d.* FROM pg_temp.deliveries AS d JOIN pg_temp.differing AS x ON x.id = d.id;

INSERT INTO tracker.unpublished AS u (notification_id, revision)
SELECT d.id, d.revision FROM pg_temp.deliveries AS d JOIN pg_temp.differing AS x ON x.id = d.id
WHERE d.usr IS NOT NULL
ON CONFLICT (notification_id) DO UPDATE SET revision = excluded.revision;

-- Where trackers go on: one that stands elsewhere is refused, and asks again.
DELETE FROM tracker.offsets AS o USING pg_temp.offsets AS n
WHERE o.topic_id = n.topic_id AND o.partition = n.partition;
INSERT INTO tracker.offsets SELECT * FROM pg_temp.offsets;
