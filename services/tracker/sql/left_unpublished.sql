-- What a crash left behind.
SELECT u.notification_id, u.revision FROM tracker.unpublished AS u
ORDER BY u.notification_id LIMIT %(most)s
