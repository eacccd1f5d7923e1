-- What kept sessions say of all that could be kept, beside what the ledger knows of these.
-- A kept session stands for weight sessions; squares are those of the variance over the coin tosses,
-- w (w - 1): nothing is open about what was kept with certainty.
WITH could AS (
    SELECT
        *,
        kept AND weight IS NOT NULL AS counts,
        coalesce(weight, 0) AS w
    FROM sessions
    WHERE {where} AND policy IS NOT NULL AND probability > 0
),
quantities AS (
    SELECT 'failed' AS quantity, CAST(outcome = 'failure' AS DOUBLE) AS y, counts, w FROM could
    UNION ALL
    SELECT 'succeeded', CAST(outcome = 'success' AS DOUBLE), counts, w FROM could
    UNION ALL
    SELECT 'wasted money', CAST(coalesce(wasted_cost_usd, 0) > 0 AS DOUBLE), counts, w FROM could
    UNION ALL
    SELECT 'had a tool error', CAST(coalesce(tool_errors, 0) > 0 AS DOUBLE), counts, w FROM could
    UNION ALL
    SELECT 'stopped with ' || c.stop_category, CAST(could.stop_category = c.stop_category AS DOUBLE), counts, w
    FROM could
    CROSS JOIN (SELECT DISTINCT stop_category FROM could WHERE stop_category IS NOT NULL) AS c
)
SELECT
    quantity,
    count(*) AS sessions,
    count(*) FILTER (WHERE counts) AS kept,
    avg(y) AS census,
    avg(y) FILTER (WHERE counts) AS unweighted,
    coalesce(sum(w * y) FILTER (WHERE counts), 0) AS y,
    coalesce(sum(w) FILTER (WHERE counts), 0) AS x,
    coalesce(sum(w * (w - 1) * y * y) FILTER (WHERE counts), 0) AS yy,
    coalesce(sum(w * (w - 1) * y) FILTER (WHERE counts), 0) AS xy,
    coalesce(sum(w * (w - 1)) FILTER (WHERE counts), 0) AS xx,
    coalesce(max(w) FILTER (WHERE counts AND w > 1), 0) AS largest
FROM quantities
GROUP BY quantity
ORDER BY census DESC, quantity
