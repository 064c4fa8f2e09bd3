SELECT type, status, count(*) FROM tracker.deliveries
WHERE usr IS NOT NULL AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
GROUP BY type, status ORDER BY type, status
