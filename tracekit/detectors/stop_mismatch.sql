-- The provider said that all is well, and the final state says otherwise.
-- Reads  detector_sessions, detector_calls, detector_tools, tasks.
--
-- Judged per task by its last model call and its last tool call. A stop value without a meaning is never taken for a clean one.
WITH last_calls AS (
    SELECT
        session_id, task_id, max(at_ns) AS at_ns,
        arg_max(start_ns, row(at_ns, start_ns)) AS start_ns,
        arg_max(is_failed, row(at_ns, start_ns)) AS is_failed
    FROM detector_calls
    GROUP BY session_id, task_id
),
-- Of two instrumentations on one call one may know the stop value and the other one the output.
said AS (
    SELECT
        c.session_id, c.task_id,
        max(c.stop_raw) AS stop_raw,
        bool_or(c.stop_class IS NOT NULL) OR bool_or(l.is_failed) AS is_known,
        coalesce(bool_or(c.stop_class = 'clean'), FALSE) AND NOT coalesce(bool_or(c.stop_class = 'tool_call'), FALSE)
            AND NOT bool_or(l.is_failed) AS is_clean,
        max(c.output_state) FILTER (WHERE c.output_state <> 'complete') AS broken,
        bool_or(c.output_state IS NOT NULL) AS is_inspected,
        max(c.output_tokens) AS output_tokens,
        list(c.mark) AS marks
    FROM detector_calls AS c
    JOIN last_calls AS l ON c.session_id = l.session_id AND c.task_id = l.task_id
        AND (c.start_ns >= l.start_ns OR c.at_ns = l.at_ns)
    GROUP BY c.session_id, c.task_id
),
last_tools AS (
    SELECT
        session_id, task_id,
        arg_max(is_failed, row(at_ns, start_ns, is_failed, mark)) AS is_failed,
        arg_max(tool_name, row(at_ns, start_ns, is_failed, mark)) AS tool_name,
        arg_max(mark, row(at_ns, start_ns, is_failed, mark)) AS mark
    FROM detector_tools
    GROUP BY session_id, task_id
),
judged AS (
    SELECT
        t.session_id,
        CASE
            WHEN s.session_id IS NULL THEN 'no model call'
            WHEN NOT s.is_known AND s.stop_raw IS NULL THEN 'no stop value'
            WHEN NOT s.is_known THEN 'stop value without a meaning: ' || s.stop_raw
            WHEN s.is_clean AND NOT s.is_inspected THEN 'output not inspected'
        END AS missing,
        CASE
            WHEN NOT s.is_clean THEN NULL
            WHEN s.broken IS NOT NULL THEN s.stop_raw || ', but the output is ' || replace(s.broken, '_', ' ')
            WHEN NOT s.is_inspected AND s.output_tokens = 0 THEN s.stop_raw || ', but the output has no tokens'
            WHEN l.is_failed THEN s.stop_raw || ', but the last tool call failed: ' || l.tool_name
        END AS mismatch,
        CASE WHEN s.broken IS NULL AND l.is_failed THEN list_append(s.marks, l.mark) ELSE s.marks END AS marks
    FROM tasks AS t
    LEFT JOIN said AS s ON t.session_id = s.session_id AND t.task_id = s.task_id
    LEFT JOIN last_tools AS l ON t.session_id = l.session_id AND t.task_id = l.task_id
)
SELECT
    n.session_id,
    CASE
        WHEN count(j.mismatch) > 0 THEN 'hit'
        WHEN count(j.missing) > 0 OR count(j.session_id) = 0 THEN 'not_evaluable'
        ELSE 'clear'
    END AS verdict,
    'high' AS severity,
    count(j.mismatch) AS value,
    {mismatches} AS threshold,
    flatten(list(j.marks) FILTER (WHERE j.mismatch IS NOT NULL)) AS evidence,
    coalesce(max(j.mismatch), max(j.missing)) AS reason
FROM detector_sessions AS n
LEFT JOIN judged AS j ON n.session_id = j.session_id
GROUP BY n.session_id
