-- What was still there, in the place of the empty tables of the same names.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'tracker_set_aside' LOOP
        EXECUTE format('DROP TABLE IF EXISTS tracker.%I', name);
        EXECUTE format('ALTER TABLE tracker_set_aside.%I SET SCHEMA tracker', name);
    END LOOP;
END $$;
DROP SCHEMA IF EXISTS tracker_set_aside CASCADE;
