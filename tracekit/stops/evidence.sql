-- The evidence about every task, one row per (session_id, task_id): the columns of evidence.yaml, in order.
-- Reads  stop_spans; seen_frameworks(raw, code), seen_errors(raw, llm_code, tool_code, root_code),
--        seen_statuses(kind, raw, meaning), http_values(status, code, tool_code), stop_codes(code, outcome).
-- Makes  stop_units, stop_calls, stop_marks (what it needs of spans, by a task number), evidence.
--
-- `stop_spans` may be an expensive view of a million rows: it is read once for calls, once for marks, and by key for parents.
-- Windows run over what is left only: the last calls, the marks, and the calls of tasks in which one call was made often
-- enough to matter. A span that never ended counts at its start.

CREATE OR REPLACE TEMP TABLE stop_units AS
SELECT session_id, task_id, row_number() OVER (ORDER BY session_id, task_id) AS unit
FROM (SELECT session_id, task_id FROM stop_spans GROUP BY session_id, task_id) AS u;

CREATE OR REPLACE TEMP TABLE stop_calls AS
SELECT
    u.unit,
    s.operation = 'llm' AS is_llm,
    -- A call of its own: not the wrapper around the attempts, not a second span of one call.
    s.operation = 'llm' AND coalesce(s.billable, TRUE) AS is_counted,
    s.start_ns,
    coalesce(s.end_ns, s.start_ns) AS at_ns,
    coalesce(s.status, 'unset') AS status,
    s.error_type,
    s.http_status,
    s.stop_raw,
    -- Gemini says STOP when it asks for tools, and so do servers that imitate an API: what the output asks for tells.
    CASE WHEN s.stop_class = 'clean' AND s.pending_calls > 0 THEN 'tool_call' ELSE s.stop_class END AS stop_class,
    coalesce(s.stop_normalised AND (s.dialect = 'litellm' OR lower(s.gateway) = 'litellm'), FALSE) AS lossy,
    s.stream_complete,
    s.ttft_s IS NOT NULL AS streamed,
    s.output_tokens,
    s.request_max_tokens,
    s.output_state,
    s.pending_calls,
    s.claims_success,
    s.compacted,
    s.tool_name,
    s.tool_args_hash,
    s.tool_result_hash,
    s.side_effect,
    t.meaning AS tool_status
FROM stop_spans AS s
JOIN stop_units AS u ON s.session_id = u.session_id AND s.task_id = u.task_id
LEFT JOIN seen_statuses AS t ON t.kind = 'tool' AND t.raw = s.tool_status
-- A call that was cancelled because one beside it had answered says nothing about the end.
WHERE s.operation IN ('llm', 'tool') AND coalesce(s.waste_reason, '') <> 'cancelled_sibling';

-- Everything rare that says how a task ended. `pos` orders it by end, an outer span after its inner ones.
CREATE OR REPLACE TEMP TABLE stop_marks AS
SELECT
    u.unit,
    s.trace_id, s.parent_span_id, s.operation, s.start_ns, s.end_ns, coalesce(s.end_ns, s.start_ns) AS at_ns,
    s.status, s.error_type, s.stop_framework_raw, s.stop_declared, s.task_reason, s.task_status, s.done_status, s.eval_label,
    s.approval_status, s.handoff_to, s.compacted,
    coalesce(s.output_state = 'complete' AND coalesce(s.pending_calls, 0) = 0, FALSE) AS has_output,
    -- What runs the work. A span of something else (a query, a request) or unknown can only be around all of it.
    s.operation NOT IN ('llm', 'embeddings', 'rerank', 'retrieval', 'tool', 'guardrail', 'approval', 'evaluation', 'memory',
        'event', 'handoff', 'fetch_response')
        AND (s.operation NOT IN ('other', 'unknown') OR s.parent_span_id IS NULL)
        -- A try, or a member of a fan-out, fails for itself: what is around it says whether that mattered.
        AND (s.operation <> 'step' OR (s.attempt IS NULL AND s.fanout_state IS NULL)) AS is_frame,
    s.operation IN ('session', 'task', 'workflow', 'agent', 'evaluation')
        OR (s.parent_span_id IS NULL AND s.operation <> 'guardrail') AS judges_task,
    s.operation IN ('agent', 'workflow', 'task', 'session') AS is_agent,
    row_number() OVER (PARTITION BY u.unit ORDER BY coalesce(s.end_ns, s.start_ns), s.start_ns DESC, s.span_id) AS pos
FROM stop_spans AS s
JOIN stop_units AS u ON s.session_id = u.session_id AND s.task_id = u.task_id
WHERE s.parent_span_id IS NULL
    OR s.operation IN ('agent', 'workflow', 'task', 'session', 'handoff', 'approval')
    OR s.stop_framework_raw IS NOT NULL OR s.stop_declared IS NOT NULL OR s.task_reason IS NOT NULL
    OR s.task_status IS NOT NULL OR s.done_status IS NOT NULL OR s.eval_label IS NOT NULL
    OR s.approval_status IS NOT NULL OR s.handoff_to IS NOT NULL OR s.compacted
    OR (s.output_state = 'complete' AND s.operation NOT IN ('llm', 'tool'))
    OR ((s.status = 'error' OR s.error_type IS NOT NULL) AND s.operation NOT IN ('llm', 'tool'));

CREATE OR REPLACE TEMP TABLE evidence AS
WITH
ends AS (
    SELECT
        unit,
        count(*) FILTER (WHERE is_counted) AS llm_calls,
        count(*) FILTER (WHERE is_counted AND stop_class = 'tool_call') AS llm_tool_stops,
        max(at_ns) FILTER (WHERE is_llm) AS llm_end_ns,
        count(*) FILTER (WHERE NOT is_llm) AS tool_calls,
        max(at_ns) FILTER (WHERE NOT is_llm) AS tool_end_ns,
        max(start_ns) AS call_start_ns
    FROM stop_calls
    GROUP BY unit
),

-- L and T. Of several that end together the last one to start counts: it is the innermost.
last_llm AS (
    SELECT c.*
    FROM stop_calls AS c
    JOIN ends AS u ON c.unit = u.unit AND c.at_ns = u.llm_end_ns
    WHERE c.is_llm
    QUALIFY row_number() OVER (
        PARTITION BY c.unit
        ORDER BY c.start_ns DESC, CASE WHEN c.stop_raw IS NULL THEN 1 ELSE 0 END, c.stop_raw, c.error_type
    ) = 1
),
-- Two instrumentations on one call: where L has no stop value that of a span inside it counts, or of one that ends with it.
said AS (
    SELECT c.*
    FROM stop_calls AS c
    JOIN last_llm AS l ON c.unit = l.unit AND (c.start_ns >= l.start_ns OR c.at_ns = l.at_ns)
    WHERE c.is_llm
    QUALIFY row_number() OVER (
        PARTITION BY c.unit
        ORDER BY CASE WHEN l.stop_raw IS NOT NULL AND c.at_ns = l.at_ns AND c.start_ns = l.start_ns THEN 0 ELSE 1 END,
            CASE WHEN c.stop_raw IS NULL THEN 1 ELSE 0 END, c.at_ns DESC, c.start_ns DESC, c.stop_raw
    ) = 1
),
llm AS (
    SELECT
        l.unit, l.start_ns, l.at_ns, l.error_type, l.http_status, l.streamed, l.stream_complete, l.compacted,
        s.stop_raw, s.stop_class, s.lossy,
        coalesce(s.output_tokens, l.output_tokens) AS output_tokens,
        coalesce(s.request_max_tokens, l.request_max_tokens) AS request_max_tokens,
        coalesce(l.output_state, s.output_state) AS output_state,
        coalesce(l.pending_calls, s.pending_calls) AS pending_calls,
        coalesce(l.claims_success, s.claims_success) AS claims_success,
        coalesce(e.llm_code, h.code) AS error_code,
        -- An exception beside an answer was caught: SDKs record those they retry.
        l.status = 'error' OR coalesce(l.http_status >= 400, FALSE)
            OR (l.status <> 'ok' AND l.error_type IS NOT NULL
                AND coalesce(l.stop_class, '') NOT IN ('clean', 'tool_call')) AS failed
    FROM last_llm AS l
    JOIN said AS s ON l.unit = s.unit
    LEFT JOIN seen_errors AS e ON e.raw = l.error_type
    LEFT JOIN http_values AS h ON h.status = l.http_status
),
tool_outcomes AS (
    SELECT
        c.unit, c.start_ns, c.at_ns, c.error_type, c.http_status, c.side_effect,
        coalesce(c.tool_status = 'denied', FALSE) AS denied,
        coalesce(c.status = 'error' OR c.tool_status = 'error'
            OR (c.status <> 'ok' AND c.tool_status IS NULL AND c.error_type IS NOT NULL), FALSE) AS failed
    FROM stop_calls AS c
    WHERE NOT c.is_llm
),
-- Of tools that end and start together one that failed.
tool AS (
    SELECT
        t.*,
        CASE WHEN t.failed THEN coalesce(e.tool_code, h.tool_code, 'tool.error_unrecovered') END AS error_code
    FROM tool_outcomes AS t
    JOIN ends AS u ON t.unit = u.unit AND t.at_ns = u.tool_end_ns
    LEFT JOIN seen_errors AS e ON e.raw = t.error_type
    LEFT JOIN http_values AS h ON h.status = t.http_status
    QUALIFY row_number() OVER (
        PARTITION BY t.unit
        ORDER BY t.start_ns DESC, CASE WHEN t.failed THEN 0 ELSE 1 END, CASE WHEN t.denied THEN 0 ELSE 1 END, t.error_type
    ) = 1
),

marked AS (
    SELECT
        m.unit,
        arg_max(m.stop_framework_raw, m.pos) FILTER (WHERE m.stop_framework_raw IS NOT NULL) AS framework_raw,
        max(m.at_ns) FILTER (WHERE m.stop_framework_raw IS NOT NULL) AS framework_ns,
        arg_max(c.code, m.pos) FILTER (WHERE c.code IS NOT NULL) AS declared_code,
        arg_max(t.meaning, m.pos) FILTER (WHERE t.meaning IS NOT NULL) AS task_class,
        arg_max(d.meaning, m.pos) FILTER (WHERE d.meaning IS NOT NULL) AS done_class,
        max(m.at_ns) FILTER (WHERE d.meaning = 'ok' AND NOT m.is_frame) AS done_ns,
        -- An evaluation of a single step is none of the task.
        arg_max(v.meaning, m.pos) FILTER (WHERE v.meaning IS NOT NULL AND m.judges_task) AS verdict,
        arg_max(a.meaning, m.pos) FILTER (WHERE a.meaning IS NOT NULL) AS approval,
        max(m.at_ns) FILTER (WHERE a.meaning IS NOT NULL) AS approval_ns,
        max(m.start_ns) FILTER (WHERE m.operation = 'handoff' OR m.handoff_to IS NOT NULL) AS handoff_ns,
        max(m.start_ns) FILTER (WHERE m.operation = 'agent') AS agent_start_ns,
        max(m.at_ns) FILTER (WHERE m.operation = 'guardrail' AND (m.status = 'error' OR v.meaning = 'fail')) AS guardrail_ns,
        max(m.at_ns) FILTER (WHERE m.compacted AND m.operation <> 'llm') AS compacted_ns,
        max(m.at_ns) FILTER (WHERE m.is_frame AND m.has_output) AS output_ns,
        max(m.pos) FILTER (WHERE m.is_frame
            AND (m.status = 'error' OR (coalesce(m.status, 'unset') <> 'ok' AND m.error_type IS NOT NULL))) AS failed_pos
    FROM stop_marks AS m
    LEFT JOIN stop_codes AS c ON c.code = coalesce(m.stop_declared, m.task_reason)
    LEFT JOIN seen_statuses AS t ON t.kind = 'declared' AND t.raw = m.task_status
    LEFT JOIN seen_statuses AS d ON d.kind = 'declared' AND d.raw = m.done_status
    LEFT JOIN seen_statuses AS v ON v.kind = 'verdict' AND v.raw = m.eval_label
    LEFT JOIN seen_statuses AS a ON a.kind = 'approval' AND a.raw = m.approval_status
    GROUP BY m.unit
),
-- The error type of a web request is the status it answered with, whatever was behind that.
failed_frames AS (
    SELECT m.unit, m.pos, m.at_ns, m.error_type, e.root_code
    FROM (
        SELECT
            unit, pos, at_ns,
            CASE WHEN operation <> 'other' OR TRY_CAST(error_type AS INTEGER) IS NULL THEN error_type END AS error_type
        FROM stop_marks
    ) AS m
    JOIN marked AS k ON m.unit = k.unit AND m.pos = k.failed_pos
    LEFT JOIN seen_errors AS e ON e.raw = m.error_type
),

-- R: of the spans with no parent in their own task the last to end, an agent's before any other's.
frames AS (
    SELECT f.unit, f.trace_id, f.parent_span_id, f.is_agent, f.pos, f.end_ns, f.status, u.session_id, u.task_id
    FROM stop_marks AS f
    JOIN stop_units AS u ON f.unit = u.unit
    WHERE f.is_agent OR (f.parent_span_id IS NULL AND f.is_frame)
),
inner_frames AS (
    SELECT f.unit, f.pos
    FROM frames AS f
    JOIN stop_spans AS p
        ON p.span_id = f.parent_span_id AND p.trace_id = f.trace_id AND p.session_id = f.session_id AND p.task_id = f.task_id
),
roots AS (
    SELECT f.unit, f.pos, f.end_ns, f.status
    FROM frames AS f
    LEFT JOIN inner_frames AS i ON i.unit = f.unit AND i.pos = f.pos
    WHERE i.pos IS NULL
    QUALIFY row_number() OVER (
        PARTITION BY f.unit ORDER BY CASE WHEN f.is_agent THEN 0 ELSE 1 END, f.pos DESC
    ) = 1
),
-- Orphans matter where there is no root, or where the last one had ended before they began: it was that of an earlier turn.
rootless AS (
    SELECT u.unit, u.session_id, u.task_id, coalesce(r.end_ns, 0) AS after_ns
    FROM stop_units AS u
    LEFT JOIN ends AS n ON u.unit = n.unit
    LEFT JOIN roots AS r ON u.unit = r.unit
    WHERE r.unit IS NULL OR r.end_ns < n.call_start_ns
),
strays AS (
    SELECT r.unit, s.trace_id, s.span_id, s.parent_span_id
    FROM stop_spans AS s
    JOIN rootless AS r ON s.session_id = r.session_id AND s.task_id = r.task_id
    WHERE s.start_ns >= r.after_ns
),
orphans AS (
    SELECT s.unit, count(*) AS orphans
    FROM strays AS s
    LEFT JOIN stop_spans AS p ON p.span_id = s.parent_span_id AND p.trace_id = s.trace_id
    WHERE s.parent_span_id IS NOT NULL AND p.span_id IS NULL
    GROUP BY s.unit
),

-- Streaks at the end of a task. A call is its tool and the fingerprint of its arguments; calls without one never repeat.
repeated AS (
    SELECT unit FROM stop_calls WHERE NOT is_llm AND tool_args_hash IS NOT NULL GROUP BY unit, tool_args_hash HAVING count(*) >= 3
    UNION
    SELECT unit FROM stop_calls WHERE NOT is_llm AND tool_result_hash IS NOT NULL GROUP BY unit, tool_result_hash HAVING count(*) >= 3
),
turns AS (
    SELECT c.unit, 'tool' AS kind, c.start_ns, c.at_ns,
        coalesce(c.tool_name, '') || ' ' || CAST(c.tool_args_hash AS VARCHAR) AS word, c.tool_result_hash AS result
    FROM stop_calls AS c
    JOIN repeated AS r ON c.unit = r.unit
    WHERE NOT c.is_llm
    UNION ALL
    SELECT unit, 'handoff' AS kind, start_ns, at_ns, handoff_to AS word, CAST(NULL AS BIGINT) AS result
    FROM stop_marks
    WHERE handoff_to IS NOT NULL
),
backwards AS (
    SELECT
        unit, kind, word, result,
        row_number() OVER latest AS n,
        lead(word, 1) OVER latest AS word_1,
        lead(word, 2) OVER latest AS word_2,
        lead(word, 3) OVER latest AS word_3,
        lead(result, 1) OVER latest AS result_1
    FROM turns
    WINDOW latest AS (PARTITION BY unit, kind ORDER BY start_ns DESC, at_ns DESC, word, result)
),
-- Where, going backwards from the last turn, a turn first differs from the one 1, 2 or 3 before it.
breaks AS (
    SELECT
        unit,
        kind,
        min(n) FILTER (WHERE word IS NULL OR word_1 IS NULL OR word <> word_1) AS same_1,
        min(n) FILTER (WHERE word IS NULL OR word_2 IS NULL OR word <> word_2) AS same_2,
        min(n) FILTER (WHERE word IS NULL OR word_3 IS NULL OR word <> word_3) AS same_3,
        min(n) FILTER (WHERE result IS NULL OR result_1 IS NULL OR result <> result_1) AS same_result
    FROM backwards
    GROUP BY unit, kind
),
-- n equal pairs at a distance of d are n + d turns: (n + d) / d repetitions. A streak of one word is no cycle.
streaks AS (
    SELECT
        unit,
        max(same_1) FILTER (WHERE kind = 'tool') AS repeat_streak,
        max(same_result) FILTER (WHERE kind = 'tool') AS same_result_streak,
        max(CASE WHEN same_1 > 1 THEN 0 ELSE greatest((same_2 + 1) // 2, (same_3 + 2) // 3) END)
            FILTER (WHERE kind = 'tool') AS cycle_streak,
        max(CASE WHEN same_1 > 1 THEN 0 ELSE greatest((same_2 + 1) // 2, (same_3 + 2) // 3) END)
            FILTER (WHERE kind = 'handoff') AS handoff_cycle_streak
    FROM breaks
    GROUP BY unit
),

effects AS (
    SELECT
        unit,
        count(*) AS effect_calls,
        count(*) FILTER (WHERE NOT failed AND NOT denied) AS effects_done,
        max(at_ns) AS last_ns,
        max(at_ns) FILTER (WHERE NOT failed AND NOT denied) AS done_ns
    FROM tool_outcomes
    -- An idempotent write is an effect too: repeating it does no harm, but claiming it may.
    WHERE side_effect IN ('idempotent', 'write', 'external', 'irreversible')
    GROUP BY unit
),
milestones AS (
    SELECT coalesce(e.unit, m.unit) AS unit, e.done_ns AS effect_ns, m.done_ns
    FROM (SELECT unit, done_ns FROM effects WHERE done_ns IS NOT NULL) AS e
    FULL JOIN (SELECT unit, done_ns FROM marked WHERE done_ns IS NOT NULL) AS m ON e.unit = m.unit
),
afterwards AS (
    SELECT c.unit,
        count(*) FILTER (WHERE c.start_ns >= k.effect_ns) AS calls_after_effect,
        count(*) FILTER (WHERE c.start_ns >= k.done_ns) AS calls_after_done
    FROM stop_calls AS c
    JOIN milestones AS k ON c.unit = k.unit
    WHERE c.is_counted
    GROUP BY c.unit
),
executed AS (
    SELECT e.unit, count(*) AS executed
    FROM (
        SELECT unit, start_ns FROM stop_calls WHERE NOT is_llm
        UNION ALL
        SELECT unit, start_ns FROM stop_marks WHERE (operation = 'handoff' OR handoff_to IS NOT NULL) AND operation <> 'tool'
    ) AS e
    JOIN llm AS l ON e.unit = l.unit AND e.start_ns >= l.start_ns
    GROUP BY e.unit
),

-- Failed calls of the whole task: those that were recovered from only contribute.
failures AS (
    SELECT
        c.unit,
        CASE WHEN c.is_llm THEN coalesce(e.llm_code, h.code, c.stop_class)
            ELSE coalesce(e.tool_code, h.tool_code, 'tool.error_unrecovered') END AS code
    FROM stop_calls AS c
    LEFT JOIN seen_errors AS e ON e.raw = c.error_type
    LEFT JOIN http_values AS h ON h.status = c.http_status
    WHERE (c.is_counted OR NOT c.is_llm)
        AND (c.status = 'error' OR c.tool_status = 'error' OR c.http_status >= 400 OR c.stop_class LIKE 'provider.%'
            OR (c.status <> 'ok' AND c.tool_status IS NULL AND c.error_type IS NOT NULL))
),
failed_calls AS (
    SELECT
        unit,
        count(*) FILTER (WHERE code = 'provider.rate_limited') AS rate_limited_calls,
        count(*) FILTER (WHERE code = 'provider.overloaded') AS overloaded_calls,
        count(*) FILTER (WHERE code = 'provider.timeout') AS timeout_calls,
        count(*) FILTER (WHERE code = 'provider.server_error') AS server_error_calls,
        count(*) FILTER (WHERE code = 'provider.malformed_output') AS malformed_calls,
        count(*) FILTER (WHERE code = 'provider.rejected_request') AS rejected_calls,
        count(*) FILTER (WHERE code = 'provider.auth_or_billing') AS auth_calls,
        count(*) FILTER (WHERE code = 'tool.error_unrecovered') AS tool_errors,
        count(*) FILTER (WHERE code = 'tool.invalid_call') AS invalid_tool_calls,
        count(*) FILTER (WHERE code = 'tool.unknown') AS unknown_tool_calls,
        count(*) FILTER (WHERE code = 'tool.timeout') AS tool_timeouts
    FROM failures
    GROUP BY unit
)

SELECT
    u.session_id,
    u.task_id,

    r.unit IS NOT NULL AND o.unit IS NULL AS has_root,
    coalesce(r.end_ns IS NOT NULL, FALSE) AS root_ended,
    x.unit IS NOT NULL AS root_failed,
    -- An error handed up from the last call keeps the meaning it had there.
    CASE
        WHEN x.error_type = l.error_type AND l.failed THEN l.error_code
        WHEN x.error_type = t.error_type AND t.failed AND NOT coalesce(l.at_ns > t.at_ns, FALSE) THEN t.error_code
        -- An SDK raises one exception for many errors of the provider: BadRequestError, also for a full context window.
        WHEN x.root_code LIKE 'provider.%' AND l.failed AND NOT coalesce(t.at_ns >= l.at_ns, FALSE)
            THEN coalesce(l.error_code, x.root_code)
        ELSE x.root_code
    END AS root_code,
    x.error_type IS NOT NULL AS root_typed,
    coalesce(o.orphans, 0) AS orphans,

    m.framework_raw,
    CASE WHEN n.llm_end_ns IS NULL OR m.framework_ns >= n.llm_end_ns THEN f.code END AS framework_code,

    coalesce(n.llm_calls, 0) AS llm_calls,
    l.stop_raw AS llm_raw,
    l.stop_class AS llm_code,
    coalesce(l.failed, FALSE) AS llm_failed,
    CASE WHEN l.failed THEN l.error_code END AS llm_error_code,
    coalesce(l.http_status >= 400, FALSE) AS llm_http_error,
    coalesce(l.lossy, FALSE) AS llm_lossy,
    coalesce(l.streamed, FALSE) AS llm_streamed,
    coalesce(NOT l.stream_complete, FALSE) AS llm_cut,
    l.output_tokens AS llm_output_tokens,
    l.request_max_tokens AS llm_max_tokens,
    l.output_state AS llm_state,
    l.pending_calls AS llm_pending_calls,
    l.claims_success AS llm_claims_success,
    coalesce(n.llm_tool_stops, 0) AS llm_tool_stops,
    coalesce(m.output_ns >= l.at_ns, FALSE) AS run_output,
    coalesce(m.compacted_ns >= coalesce(n.llm_end_ns, 0), FALSE)
        OR coalesce(l.compacted AND coalesce(l.stop_class, '') <> 'clean', FALSE) AS compacted,

    coalesce(n.tool_calls, 0) AS tool_calls,
    coalesce(t.failed, FALSE) AS tool_failed,
    coalesce(t.denied, FALSE) AS tool_denied,
    t.error_code AS tool_code,
    CASE WHEN NOT coalesce(l.at_ns > t.at_ns, FALSE) THEN t.error_code END AS tool_end_code,
    coalesce(l.at_ns > t.at_ns AND NOT l.failed AND coalesce(l.stop_class, '') <> 'tool_call', FALSE) AS answered,
    -- One call at least was asked for. Where earlier requests were not followed by tool spans either, tools are not traced.
    CASE
        WHEN coalesce(l.stop_class, '') <> 'tool_call' OR m.output_ns >= l.at_ns THEN 0
        WHEN n.tool_calls = 0 AND n.llm_tool_stops > 1 AND l.pending_calls IS NULL THEN 0
        ELSE greatest(coalesce(l.pending_calls, 1) - coalesce(e.executed, 0), 0)
    END AS pending,
    coalesce(s.repeat_streak, 0) AS repeat_streak,
    coalesce(s.cycle_streak, 0) AS cycle_streak,
    coalesce(s.same_result_streak, 0) AS same_result_streak,
    coalesce(s.handoff_cycle_streak, 0) AS handoff_cycle_streak,
    coalesce(w.effect_calls, 0) AS effect_calls,
    coalesce(w.effects_done, 0) AS effects_done,
    coalesce(w.last_ns > coalesce(w.done_ns, 0), FALSE) AS effect_failed_last,
    coalesce(a.calls_after_effect, 0) AS calls_after_effect,

    coalesce(m.guardrail_ns >= coalesce(n.llm_end_ns, 0), FALSE) AS guardrail_failed,
    coalesce(m.approval = 'denied' AND coalesce(t.start_ns, 0) < m.approval_ns, FALSE) AS approval_denied,
    coalesce(m.approval = 'requested' AND coalesce(n.call_start_ns, 0) < m.approval_ns, FALSE) AS approval_open,
    coalesce(m.handoff_ns >= greatest(coalesce(n.call_start_ns, 0), coalesce(m.agent_start_ns, 0)), FALSE) AS handoff_open,

    coalesce(c.rate_limited_calls, 0) AS rate_limited_calls,
    coalesce(c.overloaded_calls, 0) AS overloaded_calls,
    coalesce(c.timeout_calls, 0) AS timeout_calls,
    coalesce(c.server_error_calls, 0) AS server_error_calls,
    coalesce(c.malformed_calls, 0) AS malformed_calls,
    coalesce(c.rejected_calls, 0) AS rejected_calls,
    coalesce(c.auth_calls, 0) AS auth_calls,
    coalesce(c.tool_errors, 0) AS tool_errors,
    coalesce(c.invalid_tool_calls, 0) AS invalid_tool_calls,
    coalesce(c.unknown_tool_calls, 0) AS unknown_tool_calls,
    coalesce(c.tool_timeouts, 0) AS tool_timeouts,

    coalesce(
        m.declared_code,
        CASE m.task_class
            WHEN 'ok' THEN 'completed.declared'
            WHEN 'infeasible' THEN 'completed.declined_infeasible'
            WHEN 'needs_input' THEN 'waiting.human_input'
        END
    ) AS declared_code,
    coalesce(m.task_class = 'failed' OR m.done_class = 'failed', FALSE) AS declared_failed,
    m.done_class,
    coalesce(a.calls_after_done, 0) AS calls_after_done,
    m.verdict
FROM stop_units AS u
LEFT JOIN ends AS n ON u.unit = n.unit
LEFT JOIN marked AS m ON u.unit = m.unit
LEFT JOIN seen_frameworks AS f ON f.raw = m.framework_raw
LEFT JOIN roots AS r ON u.unit = r.unit
-- What failed inside of a run that says it went well was dealt with.
LEFT JOIN failed_frames AS x
    ON u.unit = x.unit AND x.at_ns >= coalesce(n.call_start_ns, 0)
    AND NOT coalesce(r.status = 'ok' AND x.pos < r.pos, FALSE)
LEFT JOIN orphans AS o ON u.unit = o.unit
LEFT JOIN llm AS l ON u.unit = l.unit
LEFT JOIN tool AS t ON u.unit = t.unit
LEFT JOIN streaks AS s ON u.unit = s.unit
LEFT JOIN effects AS w ON u.unit = w.unit
LEFT JOIN afterwards AS a ON u.unit = a.unit
LEFT JOIN executed AS e ON u.unit = e.unit
LEFT JOIN failed_calls AS c ON u.unit = c.unit;
