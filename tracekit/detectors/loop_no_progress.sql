-- The same tool calls bring the same results, or no call brings a new one.
-- Reads  detector_sessions, detector_tools.
--
-- Judged within a task: to look something up again for another task is no loop.
WITH repeats AS (
    SELECT session_id, task_id, tool_name, count(*) AS times, list(mark) AS marks
    FROM detector_tools
    WHERE tool_args_hash IS NOT NULL AND tool_result_hash IS NOT NULL
    GROUP BY session_id, task_id, tool_name, tool_args_hash, tool_result_hash
    HAVING count(*) >= {repeats}
),
repeated AS (
    SELECT
        session_id, max(times) AS times, flatten(list(marks)) AS marks,
        arg_max(tool_name, row(times, tool_name)) AS tool_name
    FROM repeats
    GROUP BY session_id
),
-- Only tasks with that many old results can have that many in a row.
stale AS (
    SELECT session_id, task_id
    FROM detector_tools
    WHERE tool_result_hash IS NOT NULL
    GROUP BY session_id, task_id
    HAVING count(*) - count(DISTINCT tool_result_hash) >= {steps}
),
firsts AS (
    SELECT
        t.session_id, t.task_id, t.start_ns, t.span_id, t.mark,
        -- A result that is not known may be new.
        CASE WHEN t.tool_result_hash IS NULL OR row_number() OVER (
            PARTITION BY t.session_id, t.task_id, t.tool_result_hash ORDER BY t.start_ns, t.span_id
        ) = 1 THEN 1 ELSE 0 END AS is_new
    FROM detector_tools AS t
    JOIN stale AS s ON t.session_id = s.session_id AND t.task_id = s.task_id
),
runs AS (
    SELECT
        session_id, task_id, mark, is_new,
        sum(is_new) OVER (PARTITION BY session_id, task_id ORDER BY start_ns, span_id) AS run
    FROM firsts
),
standstills AS (
    SELECT session_id, count(*) AS steps, list(mark) AS marks
    FROM runs
    WHERE is_new = 0
    GROUP BY session_id, task_id, run
    HAVING count(*) >= {steps}
),
standing AS (
    SELECT session_id, max(steps) AS steps, flatten(list(marks)) AS marks FROM standstills GROUP BY session_id
),
-- As many calls as make a loop, and one of them at least does not say what it was about.
unknown AS (
    SELECT DISTINCT session_id
    FROM detector_tools
    GROUP BY session_id, task_id
    HAVING count(*) >= {repeats}
        AND count(*) FILTER (WHERE is_done AND (tool_args_hash IS NULL OR tool_result_hash IS NULL)) > 0
)
SELECT
    n.session_id,
    CASE
        WHEN r.session_id IS NOT NULL OR s.session_id IS NOT NULL THEN 'hit'
        WHEN u.session_id IS NOT NULL OR n.untraced_calls >= {repeats} THEN 'not_evaluable'
        ELSE 'clear'
    END AS verdict,
    CASE WHEN s.session_id IS NOT NULL THEN 'high' ELSE 'medium' END AS severity,
    coalesce(r.times, s.steps) AS value,
    CASE WHEN r.session_id IS NULL AND s.session_id IS NOT NULL THEN {steps} ELSE {repeats} END AS threshold,
    coalesce(r.marks, s.marks) AS evidence,
    CASE
        WHEN r.session_id IS NOT NULL
            THEN r.tool_name || ' was called ' || CAST(r.times AS VARCHAR) || ' times alike, with the same result'
        WHEN s.session_id IS NOT NULL THEN CAST(s.steps AS VARCHAR) || ' tool calls in a row brought no new result'
        WHEN u.session_id IS NOT NULL THEN 'tool calls without fingerprints'
        WHEN n.untraced_calls >= {repeats} THEN 'tool calls are not traced'
    END AS reason
FROM detector_sessions AS n
LEFT JOIN repeated AS r ON n.session_id = r.session_id
LEFT JOIN standing AS s ON n.session_id = s.session_id
LEFT JOIN unknown AS u ON n.session_id = u.session_id
