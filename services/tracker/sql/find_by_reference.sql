-- Which attempt a provider's own id belongs to.
SELECT notification_id, (event ->> 'attempt')::bigint FROM tracker.timeline
WHERE account = %(account)s AND provider_ref IS NOT NULL
    AND left(provider_ref, 200) = left(%(provider_ref)s, 200)
    AND provider_ref = %(provider_ref)s
ORDER BY at DESC LIMIT 1
