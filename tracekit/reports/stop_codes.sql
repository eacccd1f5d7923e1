-- Tasks per stop code, the most frequent first.
SELECT
    stop_reason,
    stop_outcome,
    stop_fault,
    count(*) AS tasks,
    count(*) / sum(count(*)) OVER () AS share,
    sum(cost_usd) AS cost_usd,
    sum(unpriced_calls) AS unpriced_calls
FROM tasks
WHERE {where}
GROUP BY stop_reason, stop_outcome, stop_fault
ORDER BY tasks DESC, stop_reason
