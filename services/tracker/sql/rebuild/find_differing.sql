INSERT INTO pg_temp.differing
SELECT DISTINCT id FROM (
    SELECT id FROM pg_temp.hashes GROUP BY tbl, id, event_id, hash HAVING count(*) <> 2) AS odd
