-- Tasks per period and stop category, and how they ended.
SELECT
    date_trunc('{period}', started_at) AS period,
    stop_category,
    count(*) AS tasks,
    count(*) FILTER (WHERE outcome = 'success') AS successes,
    count(*) FILTER (WHERE outcome = 'failure') AS failures,
    sum(cost_usd) AS cost_usd,
    sum(wasted_cost_usd) AS wasted_cost_usd
FROM tasks
WHERE {where} AND started_at IS NOT NULL
GROUP BY date_trunc('{period}', started_at), stop_category
ORDER BY period, stop_category
