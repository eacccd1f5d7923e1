-- A task is declared a success while something it needs failed for good, or a verifier says that it failed.
-- Reads  detector_sessions, detector_tools, detector_marks, attempts, tasks.
--
-- A child failed for good when the last one of its kind did: what was retried with success is no contradiction.
WITH claims AS (
    SELECT session_id, task_id, outcome_declared = 'success' AS is_success
    FROM tasks
    WHERE outcome_declared IS NOT NULL
),
verdicts AS (
    SELECT
        session_id, task_id,
        arg_max(verdict, row(at_ns, mark)) AS verdict,
        arg_max(mark, row(at_ns, mark)) AS mark
    FROM detector_marks
    WHERE verdict IS NOT NULL
    GROUP BY session_id, task_id
),
children AS (
    SELECT session_id, task_id, 'tool ' || tool_name AS child, is_failed, row(at_ns, start_ns, is_failed, mark) AS place, mark
    FROM detector_tools
    WHERE is_essential AND NOT is_denied AND NOT is_sign_off
    UNION ALL
    SELECT session_id, task_id, operation || ' ' || name, is_failed, row(at_ns, start_ns, is_failed, mark), mark
    FROM detector_marks
    WHERE is_essential
    UNION ALL
    SELECT
        session_id, task_id, 'model call', failure_class IS NOT NULL,
        row(
            start_ns + CAST(coalesce(duration_s, 0) * 1e9 AS BIGINT), start_ns, failure_class IS NOT NULL,
            CAST(start_ns AS VARCHAR) || ':' || span_id
        ),
        CAST(start_ns AS VARCHAR) || ':' || span_id
    FROM attempts
    WHERE coalesce(essential, TRUE) AND coalesce(waste_reason, '') <> 'cancelled_sibling'
),
last_children AS (
    SELECT session_id, task_id, child, arg_max(is_failed, place) AS is_failed, arg_max(mark, place) AS mark
    FROM children
    GROUP BY session_id, task_id, child
),
checks AS (
    SELECT
        session_id, task_id, is_failed AS is_against, child <> 'model call' AS is_check,
        child || ' failed' AS what, mark
    FROM last_children
    UNION ALL
    SELECT session_id, task_id, verdict = 'fail', TRUE, 'the verdict is fail', mark
    FROM verdicts
),
judged AS (
    SELECT
        c.session_id, c.task_id,
        any_value(c.is_success) AS is_success,
        count(*) FILTER (WHERE c.is_success AND k.is_against) AS contradictions,
        -- A model that answers is no evidence for what it claims.
        count(*) FILTER (WHERE k.is_check) AS checks,
        max(k.what) FILTER (WHERE c.is_success AND k.is_against) AS what,
        list(k.mark) FILTER (WHERE c.is_success AND k.is_against) AS marks
    FROM claims AS c
    LEFT JOIN checks AS k ON c.session_id = k.session_id AND c.task_id = k.task_id
    GROUP BY c.session_id, c.task_id
)
SELECT
    n.session_id,
    CASE
        WHEN coalesce(sum(j.contradictions), 0) >= {contradictions} THEN 'hit'
        WHEN count(j.session_id) < count(t.session_id) OR count(t.session_id) = 0 THEN 'not_evaluable'
        WHEN bool_or(j.is_success AND j.checks = 0) THEN 'not_evaluable'
        ELSE 'clear'
    END AS verdict,
    'high' AS severity,
    CAST(sum(j.contradictions) AS DOUBLE) AS value,
    {contradictions} AS threshold,
    flatten(list(j.marks) FILTER (WHERE j.contradictions > 0)) AS evidence,
    CASE
        WHEN sum(j.contradictions) > 0 THEN 'declared a success, but ' || max(j.what)
        WHEN count(j.session_id) < count(t.session_id) OR count(t.session_id) = 0 THEN 'a task without a typed end'
        WHEN bool_or(j.is_success AND j.checks = 0) THEN 'nothing to hold the claim against'
    END AS reason
FROM detector_sessions AS n
LEFT JOIN tasks AS t ON n.session_id = t.session_id
LEFT JOIN judged AS j ON t.session_id = j.session_id AND t.task_id = j.task_id
GROUP BY n.session_id
