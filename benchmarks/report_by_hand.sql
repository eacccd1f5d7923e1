-- Task success, cost and waste, for one session per task and one verdict per session at most: what
-- somebody who knows that, and the files, would write.
WITH judged AS (
    SELECT
        {keys}
        stop_reason,
        coalesce(o.outcome, t.outcome_inferred) AS outcome,
        o.outcome IS NOT NULL AS verified,
        t.cost_usd,
        t.unpriced_calls,
        t.wasted_cost_usd,
        t.start_ns
    FROM read_parquet('{root}/tasks/*/*.parquet', hive_partitioning = false) AS t
    LEFT JOIN read_parquet('{root}/outcomes/*/*.parquet', hive_partitioning = false) AS o
        USING (session_id)
),
by_stop AS (
    SELECT
        {keys}
        stop_reason,
        count(*) AS tasks,
        count(*) FILTER (WHERE outcome = 'success') AS successes,
        count(*) FILTER (WHERE outcome = 'failure') AS failures,
        count(*) FILTER (WHERE verified) AS verified,
        sum(cost_usd) AS cost_usd,
        sum(unpriced_calls) AS unpriced_calls,
        sum(wasted_cost_usd) AS wasted_cost_usd
    FROM judged
    GROUP BY {keys} stop_reason
)
SELECT
    {keys}
    CAST(sum(tasks) AS BIGINT) AS sessions,
    CAST(sum(tasks) AS BIGINT) AS tasks,
    CAST(sum(successes) AS BIGINT) AS successes,
    CAST(sum(failures) AS BIGINT) AS failures,
    CAST(sum(verified) AS BIGINT) AS verified,
    sum(cost_usd) AS cost_usd,
    CAST(sum(unpriced_calls) AS BIGINT) AS unpriced_calls,
    sum(wasted_cost_usd) AS wasted_cost_usd,
    arg_max(stop_reason, tasks) AS top_stop
FROM by_stop
GROUP BY {group}
ORDER BY tasks DESC, {keys} 1
