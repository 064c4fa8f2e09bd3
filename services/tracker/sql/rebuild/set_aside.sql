-- What is still there of the tables, out of the way of those that are made anew.
DO $$ BEGIN
    IF to_regnamespace('tracker') IS NOT NULL THEN
        ALTER SCHEMA tracker RENAME TO tracker_set_aside;
    END IF;
END $$
