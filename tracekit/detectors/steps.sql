-- What detectors ask of spans again and again, once: narrow tables of tool calls, model calls and verdicts.
-- Reads  detector_spans, sessions; detector_words(kind, raw, meaning). The place in braces takes a condition on `s.session_id`.
-- Makes  detector_chosen, detector_sessions, detector_tools, detector_calls, detector_marks.
--
-- `mark` is a span id with its start in front: lists of marks sort by time, and the runner takes the time off again.

-- A replayed step did nothing: its result came from a checkpoint.
CREATE OR REPLACE TEMP TABLE detector_tools AS
SELECT
    t.*,
    NOT t.is_failed AND NOT t.is_denied AND t.is_ended AND t.is_fine AS is_done
FROM (
    SELECT
        s.session_id, s.task_id, s.span_id,
        CAST(s.start_ns AS VARCHAR) || ':' || s.span_id AS mark,
        s.start_ns, coalesce(s.end_ns, s.start_ns) AS at_ns, s.end_ns IS NOT NULL AS is_ended,
        coalesce(s.tool_name, s.name) AS tool_name, s.tool_args_hash, s.tool_result_hash, s.tool_call_id,
        s.side_effect, s.idempotency_key, s.error_type, s.http_status, coalesce(s.essential, TRUE) AS is_essential,
        s.done_status IS NOT NULL AS is_sign_off,
        -- Pending and cancelled calls did nothing that is known.
        s.tool_status IS NULL OR coalesce(w.meaning = 'ok', FALSE) AS is_fine,
        coalesce(w.meaning = 'denied', FALSE) AS is_denied,
        coalesce(s.status = 'error' OR w.meaning = 'error'
            OR (s.status <> 'ok' AND s.tool_status IS NULL AND s.error_type IS NOT NULL), FALSE)
            AND coalesce(w.meaning, '') <> 'denied' AS is_failed
    FROM detector_spans AS s
    LEFT JOIN detector_words AS w ON w.kind = 'tool' AND w.raw = lower(trim(s.tool_status))
    WHERE s.operation = 'tool' AND NOT coalesce(s.replayed, FALSE) AND {chosen}
) AS t;

-- Every telling of a model call: attempts, what is around them, the same call by a second instrumentation. Who counts calls
-- asks `attempts`, which has one row each. A call cancelled because one beside it had answered says nothing about the end.
CREATE OR REPLACE TEMP TABLE detector_calls AS
SELECT
    session_id, task_id, span_id, trace_id, parent_span_id,
    CAST(start_ns AS VARCHAR) || ':' || span_id AS mark,
    start_ns, coalesce(end_ns, start_ns) AS at_ns, billable,
    stop_raw,
    -- Gemini says STOP when it asks for tools: what the output asks for tells.
    CASE WHEN stop_class = 'clean' AND pending_calls > 0 THEN 'tool_call' ELSE stop_class END AS stop_class,
    output_state, output_tokens, resend_count,
    coalesce(status = 'error' OR http_status >= 400, FALSE) AS is_failed,
    -- A failed call that may have used tokens and does not say how many.
    coalesce(billable AND waste_reason = 'failed_attempt' AND input_tokens IS NULL AND output_tokens IS NULL
        AND coalesce(cost_source, '') <> 'unbilled', FALSE) AS is_unmetered
FROM detector_spans AS s
WHERE operation = 'llm' AND coalesce(waste_reason, '') <> 'cancelled_sibling' AND {chosen};

-- Verdicts on tasks, and steps other than calls that are said to be essential.
CREATE OR REPLACE TEMP TABLE detector_marks AS
SELECT
    s.session_id, s.task_id, s.operation, s.name,
    CAST(s.start_ns AS VARCHAR) || ':' || s.span_id AS mark,
    s.start_ns, coalesce(s.end_ns, s.start_ns) AS at_ns,
    s.status = 'error' AS is_failed,
    coalesce(s.essential AND s.operation NOT IN ('task', 'session'), FALSE) AS is_essential,
    -- An evaluation of a single step is none of the task.
    CASE WHEN s.parent_span_id IS NULL OR s.operation IN ('session', 'task', 'workflow', 'agent', 'evaluation')
        THEN w.meaning END AS verdict
FROM detector_spans AS s
LEFT JOIN detector_words AS w ON w.kind = 'verdict' AND w.raw = lower(trim(s.eval_label))
WHERE s.operation NOT IN ('llm', 'tool') AND (s.eval_label IS NOT NULL OR s.essential) AND {chosen};

-- All sessions that are asked about, also those whose spans are gone: their cohorts are known all the same.
CREATE OR REPLACE TEMP TABLE detector_chosen AS
SELECT s.session_id, s.agent_name, s.start_ns, s.decided_ns
FROM sessions AS s
WHERE {chosen};

-- Sessions whose spans are there to be judged: the runner says of the others that they are not. Tools are not traced where
-- models asked for some, and there is neither a tool call nor a handoff for it.
CREATE OR REPLACE TEMP TABLE detector_sessions AS
WITH asked AS (
    SELECT session_id, count(*) AS calls FROM detector_calls WHERE stop_class = 'tool_call' AND billable GROUP BY session_id
)
SELECT
    s.session_id, s.start_ns, s.end_ns, s.agent_name, s.traces, s.llm_calls, s.tool_calls, s.input_tokens, s.output_tokens,
    s.cost_usd, s.unpriced_calls,
    CASE WHEN s.tool_calls = 0 AND coalesce(a.calls, 0) > s.handoffs THEN a.calls - s.handoffs ELSE 0 END AS untraced_calls
FROM sessions AS s
LEFT JOIN asked AS a ON s.session_id = a.session_id
WHERE s.kept AND {chosen};
