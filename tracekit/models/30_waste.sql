-- Waste: model calls that did not help, each with one reason. The first that holds counts:
--   cancelled_sibling  cancelled because a call beside it won
--   failed_attempt     failed, whether or not it was tried again
--   after_done         a call for an answer that started after its task was done
--   duplicate          all it led to were tool calls made before, with the results they had before
-- A call cancelled for a winner is a failed call too; its own reason says more, so it comes first.
-- Reads  normalised, calls, failures; stop_codes.
-- Makes  waste (row_id, waste_reason).

-- Calls are beside one another under one parent, and members of one fan-out with all that is in them.
CREATE OR REPLACE TEMP TABLE cancelled_siblings AS
WITH cancelled AS (
    SELECT c.row_id, c.session_id, c.trace_id, c.parent_span_id, c.start_ns, c.end_ns
    FROM calls AS c
    JOIN failures AS f ON f.row_id = c.row_id
    JOIN stop_codes AS s ON s.code = f.failure_class
    WHERE s.category = 'cancelled' AND c.parent_span_id IS NOT NULL
)
SELECT DISTINCT c.row_id
FROM cancelled AS c
JOIN calls AS w
    ON w.session_id = c.session_id
    AND w.parent_span_id = c.parent_span_id
    AND w.start_ns < c.end_ns
    AND w.end_ns > c.start_ns
WHERE NOT EXISTS (SELECT 1 FROM failures AS f WHERE f.row_id = w.row_id)
UNION
SELECT c.row_id
FROM cancelled AS c
JOIN numbered AS m ON m.span_id = c.parent_span_id AND m.trace_id = c.trace_id
JOIN numbered AS w
    ON w.trace_id = c.trace_id
    AND w.fanout_id = m.fanout_id
    AND w.start_ns < c.end_ns
    AND w.end_ns > c.start_ns
WHERE m.fanout_state IS NOT NULL AND w.fanout_state = 'ok';

-- A task is done when the first typed done event or done tool of it has ended. A task status counts
-- only where there is none, and then the last one does, as steps of a task carry a status as well.
-- Where no task is declared the session may hold many turns, each in its own trace, so that being
-- done holds for the trace only.
CREATE OR REPLACE TEMP TABLE calls_after_done AS
WITH done AS (
    SELECT
        s.session_id,
        s.task_id,
        CASE WHEN s.task_id = s.session_id THEN s.trace_id ELSE '' END AS trace_id,
        coalesce(
            min(s.end_ns) FILTER (WHERE r.done_status IS NOT NULL), max(s.end_ns)
        ) AS done_ns
    FROM steps AS s
    JOIN numbered AS r ON r.row_id = s.row_id
    WHERE r.done_status IS NOT NULL OR r.task_status IS NOT NULL
    GROUP BY
        s.session_id, s.task_id, CASE WHEN s.task_id = s.session_id THEN s.trace_id ELSE '' END
)
SELECT c.row_id
FROM calls AS c
JOIN done AS d
    ON d.session_id = c.session_id
    AND d.task_id = c.task_id
    AND d.trace_id = CASE WHEN c.task_id = c.session_id THEN c.trace_id ELSE '' END
WHERE c.operation = 'llm' AND c.start_ns > d.done_ns;

-- Tool calls that repeat finished work: the same tool, arguments and result as one that ended
-- before in the session. Without both fingerprints nothing can be said.
CREATE OR REPLACE TEMP TABLE repeated_work AS
SELECT session_id, tool_name, tool_args_hash, tool_result_hash, min(end_ns) AS first_end_ns
FROM normalised
WHERE operation = 'tool'
    AND tool_args_hash IS NOT NULL
    AND tool_result_hash IS NOT NULL
GROUP BY session_id, tool_name, tool_args_hash, tool_result_hash
HAVING count(*) > 1;

-- The call that led to a tool call is the latest one that started before it: of the tool span's
-- agent where it names one that calls models, else of anybody in the session.
CREATE OR REPLACE TEMP TABLE duplicates AS
WITH suspects AS (
    SELECT DISTINCT session_id FROM repeated_work
),
turns AS (
    SELECT
        n.row_id, n.trace_id, n.span_id, n.session_id, n.agent_name, n.start_ns, n.end_ns,
        n.tool_name, n.tool_args_hash, n.tool_result_hash, n.operation,
        CASE WHEN n.operation = 'llm' THEN n.row_id END AS call_row_id
    FROM normalised AS n
    JOIN suspects AS s ON s.session_id = n.session_id
    WHERE n.operation = 'tool'
        OR (
            n.operation = 'llm'
            AND NOT EXISTS (SELECT 1 FROM uncounted AS u WHERE u.row_id = n.row_id)
        )
),
caused AS (
    SELECT
        *,
        coalesce(
            CASE WHEN agent_name IS NOT NULL THEN last_value(call_row_id IGNORE NULLS) OVER (
                PARTITION BY session_id, agent_name ORDER BY start_ns, operation, span_id, trace_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) END,
            last_value(call_row_id IGNORE NULLS) OVER (
                PARTITION BY session_id ORDER BY start_ns, operation, span_id, trace_id
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            )
        ) AS cause
    FROM turns
)
SELECT c.cause AS row_id
FROM caused AS c
LEFT JOIN repeated_work AS r
    ON r.session_id = c.session_id
    AND r.tool_name IS NOT DISTINCT FROM c.tool_name
    AND r.tool_args_hash = c.tool_args_hash
    AND r.tool_result_hash = c.tool_result_hash
    AND r.first_end_ns <= c.start_ns
    AND r.first_end_ns < c.end_ns -- not itself, where spans take no time
WHERE c.operation = 'tool' AND c.cause IS NOT NULL
GROUP BY c.cause
HAVING count(*) = count(r.session_id);

CREATE OR REPLACE TEMP TABLE waste AS
WITH reasons AS (
    SELECT row_id, 1 AS place, 'cancelled_sibling' AS waste_reason FROM cancelled_siblings
    UNION ALL
    SELECT row_id, 2, 'failed_attempt' FROM failures
    UNION ALL
    SELECT row_id, 3, 'after_done' FROM calls_after_done
    UNION ALL
    SELECT row_id, 4, 'duplicate' FROM duplicates
)
SELECT row_id, arg_min(waste_reason, place) AS waste_reason FROM reasons GROUP BY row_id;
