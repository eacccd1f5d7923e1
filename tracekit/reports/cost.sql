-- Calls, tokens and money per group, from the steps that bill. Prices are per step, so a group may
-- be anything a step or its session has.
WITH steps AS (
    SELECT
        spans.* REPLACE (
            coalesce(spans.agent_name, sessions.agent_name) AS agent_name,
            coalesce(spans.workflow_name, sessions.workflow_name) AS workflow_name
        )
    FROM spans
    LEFT JOIN sessions ON spans.session_id = sessions.session_id
    WHERE spans.billable OR spans.cost_usd > 0
),
selected AS (
    SELECT
        {keys}
        *
    FROM steps
    WHERE {where}
),
reasons AS (
    SELECT {names} cost_missing_reason || ' ' || count(*) AS reason
    FROM selected
    WHERE cost_missing_reason IS NOT NULL
    GROUP BY {names} cost_missing_reason
),
unpriced AS (
    SELECT {names} list(reason ORDER BY reason) AS unpriced_reasons
    FROM reasons
    GROUP BY {group}
),
groups AS (
    SELECT
        {names}
        count(DISTINCT session_id) AS sessions,
        count(*) FILTER (WHERE billable) AS calls,
        sum(input_tokens) AS input_tokens,
        sum(uncached_tokens) AS uncached_tokens,
        sum(cache_read_tokens) AS cache_read_tokens,
        sum(cache_write_tokens) AS cache_write_tokens,
        sum(output_tokens) AS output_tokens,
        sum(reasoning_tokens) AS reasoning_tokens,
        sum(cost_usd) AS cost_usd,
        sum(cost_usd) FILTER (WHERE cost_source = 'reported') AS reported_usd,
        sum(cost_usd) FILTER (WHERE cost_source = 'computed') AS computed_usd,
        count(*) FILTER (WHERE cost_usd IS NULL) AS unpriced_calls,
        sum(wasted_cost_usd) AS wasted_cost_usd,
        sum(wasted_cost_usd) FILTER (WHERE waste_reason = 'failed_attempt')
            AS wasted_failed_attempt_usd,
        sum(wasted_cost_usd) FILTER (WHERE waste_reason = 'duplicate') AS wasted_duplicate_usd,
        sum(wasted_cost_usd) FILTER (WHERE waste_reason = 'cancelled_sibling')
            AS wasted_cancelled_sibling_usd,
        sum(wasted_cost_usd) FILTER (WHERE waste_reason = 'after_done') AS wasted_after_done_usd
    FROM selected
    GROUP BY {group}
)
SELECT groups.*, others.unpriced_reasons
FROM groups
LEFT JOIN unpriced AS others ON {same_group}
ORDER BY cost_usd DESC NULLS LAST, calls DESC, {order}
