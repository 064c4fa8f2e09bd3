-- Without the tables that were made anew, and with those that were set aside, if there were any.
DROP SCHEMA tracker CASCADE;
DO $$ BEGIN
    IF to_regnamespace('tracker_set_aside') IS NOT NULL THEN
        ALTER SCHEMA tracker_set_aside RENAME TO tracker;
    END IF;
END $$
