-- Cost, and the waste in it by reason, of the selected sessions: exact, spans kept or not.
SELECT
    count(*) AS sessions,
    sum(cost_usd) AS cost_usd,
    sum(unpriced_calls) AS unpriced_calls,
    sum(wasted_cost_usd) AS wasted_cost_usd,
    sum(wasted_failed_attempt_usd) AS wasted_failed_attempt_usd,
    sum(wasted_duplicate_usd) AS wasted_duplicate_usd,
    sum(wasted_cancelled_sibling_usd) AS wasted_cancelled_sibling_usd,
    sum(wasted_after_done_usd) AS wasted_after_done_usd
FROM sessions
WHERE {where}
