-- Our price of each session against the sum of the recorded costs of its calls.
SELECT
    session_id,
    sum(cost_usd) AS cost_usd,
    sum(computed_cost_usd) AS computed_usd,
    count(*) FILTER (WHERE computed_cost_usd IS NULL) AS unpriced
FROM spans
WHERE billable
GROUP BY session_id
