-- Sessions with a verdict of one detector, the clearest first.
SELECT
    d.session_id,
    s.started_at,
    s.agent_name,
    d.severity,
    d.value,
    d.threshold,
    d.reason,
    d.evidence_span_ids
FROM detections AS d
JOIN (SELECT * FROM sessions WHERE {where}) AS s ON d.session_id = s.session_id
WHERE d.verdict = '{verdict}'
ORDER BY
    CASE d.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 ELSE 2 END,
    d.value DESC NULLS LAST, s.started_at DESC, d.session_id
LIMIT {limit}
