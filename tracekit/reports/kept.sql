-- How many of the sessions a collector decided were kept, by stop category and outcome.
SELECT
    stop_category,
    outcome,
    count(*) AS sessions,
    count(*) FILTER (WHERE kept) AS kept,
    count(*) FILTER (WHERE probability <= 0) AS never,
    count(*) FILTER (WHERE kept AND weight IS NULL) AS by_hand,
    coalesce(sum(spans), 0) AS spans,
    coalesce(sum(spans) FILTER (WHERE kept), 0) AS kept_spans
FROM sessions
WHERE {where} AND policy IS NOT NULL
GROUP BY stop_category, outcome
ORDER BY sessions DESC, stop_category, outcome
