-- Which sessions that were derived alone have to be derived again, with what they belong to: their key or one of their
-- traces is in another batch, in the spans that come with them, or in the lake.
-- Reads  derived_places (batch, session_id, lake_trace_ids), incoming, lake_sessions.
-- Gives  session_id.

WITH traces AS (
    SELECT batch, session_id, unnest(lake_trace_ids) AS trace_id FROM derived_places
),
others AS (
    SELECT trace_id FROM traces GROUP BY trace_id HAVING count(DISTINCT batch) > 1
    UNION
    SELECT trace_id FROM incoming
    UNION
    SELECT trace_id FROM (SELECT unnest(lake_trace_ids) AS trace_id FROM lake_sessions)
    WHERE trace_id IN (SELECT trace_id FROM traces)
)
SELECT session_id FROM derived_places GROUP BY session_id HAVING count(*) > 1
UNION
SELECT session_id FROM traces WHERE trace_id IN (SELECT trace_id FROM others)
UNION
SELECT session_id FROM derived_places WHERE session_id IN (SELECT session_key FROM incoming)
UNION
SELECT session_id FROM derived_places WHERE session_id IN (SELECT session_id FROM lake_sessions);
