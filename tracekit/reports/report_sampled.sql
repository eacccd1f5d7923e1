-- Task success, cost and waste per group where sessions stand for others. Tasks are added up by
-- session, which is what was sampled; then squares and products of the weighted sums, which is what
-- the intervals of ratios need. Sessions of unknown weight are counted apart.
WITH selected AS (
    SELECT
        {keys}
        session_id, outcome, outcome_source, stop_reason, cost_usd, unpriced_calls, wasted_cost_usd,
        started_at
    FROM tasks
    WHERE {where}
),
units AS (
    SELECT
        {names}
        t.session_id,
        max(s.weight) AS w,
        count(*) AS tasks,
        count(*) FILTER (WHERE t.outcome = 'success') AS successes,
        count(*) FILTER (WHERE t.outcome = 'failure') AS failures,
        count(*) FILTER (WHERE t.outcome <> 'undetermined' AND t.outcome_source = 'verified') AS verified,
        count(*) FILTER (WHERE t.outcome <> 'undetermined' AND t.outcome_source = 'declared') AS declared,
        count(*) FILTER (WHERE t.outcome <> 'undetermined' AND t.outcome_source = 'inferred') AS inferred,
        sum(t.cost_usd) AS cost,
        sum(t.wasted_cost_usd) AS wasted,
        sum(t.unpriced_calls) AS unpriced_calls,
        min(t.started_at) AS first_start,
        max(t.started_at) AS last_start
    FROM selected AS t
    LEFT JOIN sessions AS s ON t.session_id = s.session_id
    GROUP BY {names} t.session_id
)
SELECT
    {names}
    count(*) AS sessions,
    sum(tasks) AS tasks,
    coalesce(sum(tasks) FILTER (WHERE w IS NULL), 0) AS unknown_weight,
    count(w) AS units,
    coalesce(max(w), 0) AS largest,
    sum(w * tasks) AS all_tasks,
    sum(w * successes) AS successes,
    sum(w * (successes + failures)) AS decided,
    sum(w * w * successes * successes) AS success_squares,
    sum(w * w * successes * (successes + failures)) AS success_decided,
    sum(w * w * (successes + failures) * (successes + failures)) AS decided_squares,
    sum(verified) FILTER (WHERE w IS NOT NULL) AS verified,
    sum(declared) FILTER (WHERE w IS NOT NULL) AS declared,
    sum(inferred) FILTER (WHERE w IS NOT NULL) AS inferred,
    sum(w * cost) AS cost_usd,
    sum(w * (w - 1) * cost * cost) AS cost_variance,
    sum(w * w * cost * cost) AS cost_squares,
    sum(w * w * cost * successes) AS cost_successes,
    sum(w * wasted) AS wasted_cost_usd,
    sum(w * w * wasted * wasted) AS wasted_squares,
    sum(w * w * wasted * cost) AS wasted_cost,
    sum(unpriced_calls) FILTER (WHERE w IS NOT NULL) AS unpriced_calls,
    min(first_start) AS first_start,
    max(last_start) AS last_start
FROM units
GROUP BY {group}
ORDER BY all_tasks DESC NULLS LAST, {order}
