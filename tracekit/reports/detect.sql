-- Sessions per detector and verdict; each stands for `weight` others.
--
-- Where the dropped sessions have the verdicts they were dropped with, all that came to the collector are here, and each
-- stands for those that were sampled away before. Where some have none, kept ones stand for all.
WITH chosen AS (
    SELECT d.detector, s.*, bool_or(d.reason = '{dropped}') OVER (PARTITION BY d.detector) AS is_sample
    FROM detections AS d
    JOIN (SELECT * FROM sessions WHERE {where}) AS s ON d.session_id = s.session_id
),
weighted AS (
    SELECT
        detector, session_id,
        CASE
            WHEN policy IS NOT NULL AND NOT coalesce(is_sample, FALSE) THEN coalesce(probability / nullif(inclusion, 0), 1)
            WHEN kept THEN coalesce(weight, 0)
            ELSE 0
        END AS weight
    FROM chosen
)
SELECT
    d.detector,
    count(*) FILTER (WHERE d.verdict = 'hit') AS hits,
    count(*) FILTER (WHERE d.verdict = 'clear') AS clear,
    count(*) FILTER (WHERE d.verdict = 'not_evaluable') AS not_evaluable,
    coalesce(sum(s.weight) FILTER (WHERE d.verdict = 'hit'), 0) AS hit_weight,
    coalesce(sum(s.weight * s.weight) FILTER (WHERE d.verdict = 'hit'), 0) AS hit_squares,
    coalesce(sum(s.weight) FILTER (WHERE d.verdict = 'clear'), 0) AS clear_weight,
    coalesce(sum(s.weight * s.weight) FILTER (WHERE d.verdict = 'clear'), 0) AS clear_squares,
    coalesce(max(s.weight) FILTER (WHERE d.verdict IN ('hit', 'clear')), 1) AS largest,
    mode(d.reason ORDER BY d.reason) FILTER (WHERE d.verdict = 'not_evaluable') AS missing
FROM detections AS d
JOIN weighted AS s ON d.session_id = s.session_id AND d.detector = s.detector
GROUP BY d.detector
