-- The tables of these names that are not there.
SELECT name FROM unnest(%(names)s::text[]) AS name WHERE to_regclass('tracker.' || name) IS NULL
