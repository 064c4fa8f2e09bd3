-- How many are compared, how many of these differ, and how many are left out.
SELECT (SELECT count(*) FROM pg_temp.compared), (SELECT count(*) FROM pg_temp.differing),
    (SELECT count(*) FROM (
        SELECT id FROM tracker.deliveries UNION SELECT id FROM pg_temp.deliveries) AS known
     WHERE NOT EXISTS (SELECT FROM pg_temp.compared AS c WHERE c.id = known.id))
