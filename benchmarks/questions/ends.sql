-- Terminal states as recorded, against the derived stop codes.
SELECT
    coalesce(stop_framework_raw, '-') AS recorded_end,
    coalesce(stop_raw, '-') AS provider_stop,
    stop_reason,
    stop_outcome,
    count(*) AS sessions,
    count(*) FILTER (WHERE outcome = 'success') AS successes
FROM sessions
GROUP BY 1, 2, 3, 4
ORDER BY sessions DESC, 1, 2, 3
