-- What is compared: all of the notifications of which nothing happened before the log is whole.
TRUNCATE pg_temp.compared, pg_temp.hashes, pg_temp.differing;
SET LOCAL timezone = 'UTC';
ANALYZE pg_temp.timeline, pg_temp.deliveries;
