-- The model asks for the same change again under another call id, and it is made again.
-- Reads  detector_sessions, detector_tools.
WITH done AS (
    SELECT * FROM detector_tools
    WHERE is_done AND (side_effect IS NULL OR side_effect IN ('write', 'external', 'irreversible'))
),
-- Few calls are made again: what is dear is asked of those alone.
repeated AS (
    SELECT session_id, tool_name, tool_args_hash
    FROM done
    GROUP BY session_id, tool_name, tool_args_hash
    HAVING count(*) >= {calls}
),
effects AS (
    SELECT
        d.session_id, d.tool_name, d.tool_args_hash,
        count(DISTINCT coalesce(d.tool_call_id, d.span_id)) AS calls,
        bool_or(d.side_effect IS NULL) AS is_unclassed,
        count(DISTINCT d.tool_result_hash) AS results,
        count(d.idempotency_key) < count(*) OR count(DISTINCT d.idempotency_key) > 1 AS is_unkeyed,
        list(d.mark) AS marks
    FROM done AS d
    JOIN repeated AS r
        ON r.session_id = d.session_id
        AND r.tool_name IS NOT DISTINCT FROM d.tool_name
        AND r.tool_args_hash IS NOT DISTINCT FROM d.tool_args_hash
    GROUP BY d.session_id, d.tool_name, d.tool_args_hash
    HAVING count(DISTINCT coalesce(d.tool_call_id, d.span_id)) >= {calls}
),
summed AS (
    SELECT
        session_id,
        max(calls) FILTER (WHERE is_known) AS calls,
        max(CASE WHEN results > 1 THEN 3 WHEN is_unkeyed THEN 2 ELSE 1 END) FILTER (WHERE is_known) AS severity,
        flatten(list(marks) FILTER (WHERE is_known)) AS marks,
        arg_max(tool_name, row(calls, tool_name)) FILTER (WHERE is_known) AS tool_name,
        max(tool_name) FILTER (WHERE tool_args_hash IS NULL) AS unhashed,
        max(tool_name) FILTER (WHERE is_unclassed) AS suspect
    FROM (SELECT *, tool_args_hash IS NOT NULL AND NOT is_unclassed AS is_known FROM effects) AS e
    GROUP BY session_id
)
SELECT
    n.session_id,
    CASE
        WHEN s.calls IS NOT NULL THEN 'hit'
        WHEN s.session_id IS NOT NULL OR n.untraced_calls > 0 THEN 'not_evaluable'
        ELSE 'clear'
    END AS verdict,
    CASE s.severity WHEN 3 THEN 'critical' WHEN 2 THEN 'high' ELSE 'medium' END AS severity,
    s.calls AS value,
    {calls} AS threshold,
    s.marks AS evidence,
    CASE
        WHEN s.calls IS NOT NULL THEN s.tool_name || ' did the same ' || CAST(s.calls AS VARCHAR) || ' times'
        WHEN s.suspect IS NOT NULL THEN 'suspect: ' || s.suspect || ' was repeated, and its side effect is not known'
        WHEN s.unhashed IS NOT NULL THEN s.unhashed || ' was called repeatedly with unknown arguments'
        WHEN n.untraced_calls > 0 THEN 'tool calls are not traced'
    END AS reason
FROM detector_sessions AS n
LEFT JOIN summed AS s ON n.session_id = s.session_id
