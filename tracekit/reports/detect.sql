-- Sessions per detector and verdict; each stands for `weight` others.
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
JOIN (SELECT * FROM sessions WHERE {where}) AS s ON d.session_id = s.session_id
GROUP BY d.detector
