-- Our price of each call against the recorded one; what differs, by how much and what is special.
-- A difference that is the same for every cached token is a difference of the price lists.
SELECT
    coalesce(model, 'not recorded') AS model,
    CASE
        WHEN cost_source IS NULL THEN 'no cost: ' || cost_missing_reason
        WHEN cost_source = 'computed' THEN 'no recorded cost'
        WHEN computed_cost_usd IS NULL AND model IS NULL THEN 'no price of ours: no model recorded'
        WHEN computed_cost_usd IS NULL THEN 'no price of ours: model or tier unknown'
        WHEN cost_usd = computed_cost_usd OR abs(computed_cost_usd / nullif(cost_usd, 0) - 1) <= 0.01
            THEN 'within 1 %'
        WHEN reasoning_tokens > 0 THEN 'differs, reasoning'
        WHEN cache_read_tokens > 0 THEN 'differs, prompt partly cached'
        ELSE 'differs'
    END AS comparison,
    count(*) AS calls,
    sum(cost_usd) FILTER (WHERE cost_source = 'reported') AS recorded_usd,
    sum(computed_cost_usd) AS computed_usd,
    min(computed_cost_usd / nullif(cost_usd, 0)) AS least_ratio,
    max(computed_cost_usd / nullif(cost_usd, 0)) AS greatest_ratio,
    min(1e6 * (computed_cost_usd - cost_usd) / nullif(cache_read_tokens, 0))
        AS least_usd_per_million_cached,
    max(1e6 * (computed_cost_usd - cost_usd) / nullif(cache_read_tokens, 0))
        AS greatest_usd_per_million_cached
FROM spans
WHERE billable
GROUP BY 1, 2
ORDER BY 1, calls DESC
