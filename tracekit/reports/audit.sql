-- Sessions a sampler decided, with what the probabilities of all of them, kept or not, say of those that R kept.
-- What was kept by hand counts among the dropped ones here, as R has it.
WITH decided AS (
    SELECT *, overruled_ns IS NOT NULL AS is_overruled, kept AND overruled_ns IS NULL AS is_kept
    FROM sessions
    WHERE policy IS NOT NULL AND probability IS NOT NULL AND {where}
)
SELECT
    {keys}
    count(*) AS sessions,
    count(*) FILTER (WHERE is_kept) AS kept,
    count(*) FILTER (WHERE is_overruled) AS by_hand,
    coalesce(sum(1 / probability) FILTER (WHERE is_kept AND probability > 0), 0) AS weight,
    count(*) FILTER (WHERE probability = 0) AS never,
    sum(probability) AS expected,
    coalesce(sum((1 - probability) / probability) FILTER (WHERE probability > 0), 0) AS variance,
    coalesce(max(1 / probability) FILTER (WHERE probability > 0), 0) AS heaviest,
    CASE WHEN max(probability) >= 1 THEN CAST('-inf' AS DOUBLE)
        ELSE coalesce(sum(ln(1 - probability)), 0) END AS silence
FROM decided
GROUP BY {group}
ORDER BY sessions DESC, {order}
