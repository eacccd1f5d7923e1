-- Sessions worth reading: of each kind the ones that cost most, each session once.
WITH candidates AS (
    SELECT
        session_id,
        started_at,
        agent_name,
        stop_reason,
        stop_raw,
        outcome,
        outcome_source,
        cost_usd,
        wasted_cost_usd,
        CASE
            WHEN outcome = 'failure' AND outcome_source = 'verified' AND stop_category = 'completed'
                THEN 'says it completed, a check says it failed'
            WHEN outcome = 'failure' THEN 'failed with ' || stop_reason
            WHEN wasted_cost_usd > 0 THEN 'did not fail, and wasted most'
        END AS why
    FROM sessions
    WHERE {where}
),
ranked AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY why) AS alike,
        row_number() OVER (
            PARTITION BY why
            ORDER BY
                CASE WHEN outcome = 'failure' THEN cost_usd ELSE wasted_cost_usd END DESC NULLS LAST,
                session_id
        ) AS place
    FROM candidates
    WHERE why IS NOT NULL
)
SELECT
    session_id, started_at, agent_name, why, alike, stop_raw, stop_reason, outcome, cost_usd,
    wasted_cost_usd
FROM ranked
WHERE place = 1
ORDER BY alike DESC, why
LIMIT {limit}
