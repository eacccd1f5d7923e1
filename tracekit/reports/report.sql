-- Task success, cost and waste per group. One pass by stop code, then over the few codes.
-- Squares and products are what the interval of cost per success needs.
WITH by_stop AS (
    SELECT
        {keys}
        stop_reason,
        count(*) AS tasks,
        count(*) FILTER (WHERE outcome = 'success') AS successes,
        count(*) FILTER (WHERE outcome = 'failure') AS failures,
        count(*) FILTER (WHERE outcome <> 'undetermined' AND outcome_source = 'verified') AS verified,
        count(*) FILTER (WHERE outcome <> 'undetermined' AND outcome_source = 'declared') AS declared,
        count(*) FILTER (WHERE outcome <> 'undetermined' AND outcome_source = 'inferred') AS inferred,
        sum(cost_usd) AS cost_usd,
        sum(cost_usd * cost_usd) AS cost_squares,
        sum(cost_usd) FILTER (WHERE outcome = 'success') AS success_cost_usd,
        sum(unpriced_calls) AS unpriced_calls,
        sum(wasted_cost_usd) AS wasted_cost_usd,
        min(started_at) AS first_start,
        max(started_at) AS last_start
    FROM tasks
    WHERE {where}
    GROUP BY {names} stop_reason
),
keyed_sessions AS (
    SELECT {keys} count(DISTINCT session_id) AS sessions
    FROM tasks
    WHERE {where}
    GROUP BY {group}
),
groups AS (
    SELECT
        {names}
        sum(tasks) AS tasks,
        sum(successes) AS successes,
        sum(failures) AS failures,
        sum(verified) AS verified,
        sum(declared) AS declared,
        sum(inferred) AS inferred,
        sum(cost_usd) AS cost_usd,
        sum(cost_squares) AS cost_squares,
        sum(success_cost_usd) AS success_cost_usd,
        sum(unpriced_calls) AS unpriced_calls,
        sum(wasted_cost_usd) AS wasted_cost_usd,
        min(first_start) AS first_start,
        max(last_start) AS last_start,
        arg_max(stop_reason, tasks) AS top_stop,
        max(tasks) AS top_stop_tasks
    FROM by_stop
    GROUP BY {group}
)
SELECT groups.*, others.sessions
FROM groups
INNER JOIN keyed_sessions AS others ON {same_group}
ORDER BY tasks DESC, {order}
