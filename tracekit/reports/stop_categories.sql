-- Tasks per stop category, and how they ended.
SELECT
    stop_category,
    count(*) AS tasks,
    count(*) FILTER (WHERE outcome = 'success') AS successes,
    count(*) FILTER (WHERE outcome = 'failure') AS failures,
    count(*) FILTER (WHERE outcome NOT IN ('success', 'failure')) AS undetermined,
    sum(cost_usd) AS cost_usd
FROM tasks
WHERE {where}
GROUP BY stop_category
ORDER BY tasks DESC, stop_category
