-- Spans by kind of operation, and the names of those of unknown kind.
SELECT
    operation,
    count(*) AS spans,
    string_agg(DISTINCT name, ', ' ORDER BY name) FILTER (WHERE operation = 'unknown') AS unknown_names
FROM spans
GROUP BY operation
ORDER BY spans DESC, operation
