-- Which sessions of the lake the incoming spans touch: those with one of their session keys, and
-- those with a span in one of their traces; then, over the traces of these, every session that a
-- trace ties to them, until no trace is new. So each trace that is derived again is whole.
-- Reads  lake_sessions (session_id, lake_trace_ids, filename), touched_traces, touched_keys.
-- Makes  touched; adds to touched_traces. Run again while it adds some.

CREATE OR REPLACE TEMP TABLE touched AS
WITH tied AS (
    SELECT session_id
    FROM (SELECT session_id, unnest(lake_trace_ids) AS trace_id FROM lake_sessions)
    WHERE trace_id IN (SELECT trace_id FROM touched_traces)
    UNION
    SELECT session_id FROM lake_sessions
    WHERE session_id IN (SELECT session_key FROM touched_keys)
)
SELECT session_id, lake_trace_ids, filename
FROM lake_sessions
WHERE session_id IN (SELECT session_id FROM tied);

INSERT INTO touched_traces
SELECT trace_id FROM (SELECT unnest(lake_trace_ids) AS trace_id FROM touched)
EXCEPT
SELECT trace_id FROM touched_traces;
