-- Of each table and side: its rows, and the sums of both halves of their hashes, in any order.
SELECT json_build_object('table', 'tracker.' || tbl, 'live', live, 'rows', count(*),
    'left', sum(('x' || left(hash, 16))::bit(64)::bigint)::text,
    'right', sum(('x' || right(hash, 16))::bit(64)::bigint)::text)::text
FROM (SELECT tbl, live, md5(id::text || coalesce(event_id::text, '') || hash) AS hash
      FROM pg_temp.hashes) AS told
GROUP BY tbl, live
