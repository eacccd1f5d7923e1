-- The first start and the last end of the lake's tasks; null where there are none.
SELECT
    min(started_at) AS first,
    max(coalesce(make_timestamp(end_ns // 1000), started_at)) AS last
FROM tasks
