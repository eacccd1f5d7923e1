-- Spans that are here more than once.
-- Reads  together.
-- Makes  repeated.

-- Span ids are random: few are in two traces, and one column groups faster than two.
CREATE TEMP TABLE repeated AS
SELECT trace_id, span_id
FROM together
WHERE span_id IN (SELECT span_id FROM together GROUP BY span_id HAVING count(*) > 1)
GROUP BY trace_id, span_id
HAVING count(*) > 1;
