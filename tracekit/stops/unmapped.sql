-- Values of `stop_spans` that have no meaning in values.yaml, most frequent first: (kind, provider, raw, spans).
-- Reads  stop_spans; seen_frameworks, seen_errors, http_values, stop_codes.
SELECT 'stop' AS kind, coalesce(provider, '') AS provider, stop_raw AS raw, count(*) AS spans
FROM stop_spans
WHERE operation = 'llm' AND stop_raw IS NOT NULL AND stop_class IS NULL
GROUP BY coalesce(provider, ''), stop_raw
UNION ALL
SELECT 'framework' AS kind, coalesce(s.dialect, '') AS provider, s.stop_framework_raw AS raw, count(*) AS spans
FROM stop_spans AS s
JOIN seen_frameworks AS f ON f.raw = s.stop_framework_raw
WHERE f.code IS NULL
GROUP BY coalesce(s.dialect, ''), s.stop_framework_raw
UNION ALL
SELECT 'error' AS kind, coalesce(s.provider, '') AS provider, s.error_type AS raw, count(*) AS spans
FROM stop_spans AS s
JOIN seen_errors AS e ON e.raw = s.error_type
LEFT JOIN http_values AS h ON h.status = s.http_status
WHERE s.operation = 'llm' AND e.llm_code IS NULL AND h.code IS NULL
GROUP BY coalesce(s.provider, ''), s.error_type
UNION ALL
SELECT 'declared' AS kind, coalesce(s.dialect, '') AS provider, s.stop_declared AS raw, count(*) AS spans
FROM stop_spans AS s
LEFT JOIN stop_codes AS c ON c.code = s.stop_declared
WHERE s.stop_declared IS NOT NULL AND c.code IS NULL
GROUP BY coalesce(s.dialect, ''), s.stop_declared
ORDER BY spans DESC, kind, provider, raw;
