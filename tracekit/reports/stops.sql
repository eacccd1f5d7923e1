-- Tasks per stop code and value of another column.
SELECT
    {keys}
    stop_reason,
    stop_category,
    stop_outcome,
    stop_fault,
    count(*) AS tasks,
    count(*) FILTER (WHERE outcome = 'success') AS successes,
    count(*) FILTER (WHERE outcome = 'failure') AS failures,
    sum(cost_usd) AS cost_usd
FROM tasks
WHERE {where}
GROUP BY {names} stop_reason, stop_category, stop_outcome, stop_fault
ORDER BY stop_category, stop_reason, tasks DESC, {order}
