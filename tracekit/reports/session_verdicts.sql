-- What the detectors say of the sessions that are shown: hits first.
SELECT detector, verdict, severity, value, threshold, reason, evidence_span_ids
FROM detections
WHERE session_id IN (SELECT session_id FROM sessions WHERE {where})
ORDER BY CASE verdict WHEN 'hit' THEN 0 WHEN 'clear' THEN 1 ELSE 2 END, detector
