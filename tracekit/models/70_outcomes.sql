-- Verdicts that came with the spans.
-- Reads  ledger_spans, words, stops, stop_codes, config.
-- Makes  outcomes.

CREATE OR REPLACE TEMP TABLE outcomes AS
-- Verified: an evaluation of the session, a task or an agent. One of a single step (a model call, a
-- tool call) says nothing about the task. Only a label decides: a score without its scale cannot,
-- so that without a known label the outcome is undetermined and the score stands beside it.
WITH verified AS (
    SELECT
        n.session_id,
        n.task_id,
        CASE w.canonical WHEN 'pass' THEN 'success' WHEN 'fail' THEN 'failure' ELSE 'undetermined' END
            AS outcome,
        'verified' AS evidence,
        coalesce(n.eval_name, 'evaluation') AS source,
        n.eval_score AS score,
        coalesce(n.end_ns, n.start_ns) AS decided_ns
    FROM ledger_spans AS n
    LEFT JOIN words AS w ON w.column_name = 'eval_label' AND w.raw = lower(n.eval_label)
    WHERE (n.eval_label IS NOT NULL OR n.eval_score IS NOT NULL)
        AND (
            n.parent_span_id IS NULL
            OR n.operation IN ('session', 'task', 'workflow', 'agent', 'evaluation')
        )
),
-- Declared: what the task's own done event, status or stop code says, as the stop classifier read
-- it. A claim of success that the session's final state contradicts (completed.false_claim) is no
-- evidence: the stop code speaks instead.
declarations AS (
    SELECT
        session_id,
        task_id,
        max(coalesce(end_ns, start_ns)) AS decided_ns,
        max(CASE WHEN done_status IS NOT NULL THEN 1 ELSE 0 END) AS has_done_event,
        max(CASE WHEN task_status IS NOT NULL THEN 1 ELSE 0 END) AS has_status,
        max(stop_declared) AS stop_declared
    FROM ledger_spans
    WHERE done_status IS NOT NULL OR task_status IS NOT NULL OR stop_declared IS NOT NULL
    GROUP BY session_id, task_id
),
declared AS (
    SELECT
        d.session_id,
        d.task_id,
        coalesce(s.outcome_declared, c.outcome) AS outcome,
        'declared' AS evidence,
        CASE
            WHEN d.has_done_event = 1 THEN 'task.done'
            WHEN d.has_status = 1 THEN 'task.status'
            ELSE 'stop.reason'
        END AS source,
        CAST(NULL AS DOUBLE) AS score,
        d.decided_ns
    FROM declarations AS d
    JOIN stops AS s ON s.session_id = d.session_id AND s.task_id = d.task_id
    LEFT JOIN stop_codes AS c ON c.code = d.stop_declared
    WHERE coalesce(s.outcome_declared, c.outcome) IS NOT NULL
        AND NOT (
            s.stop_reason = 'completed.false_claim'
            AND coalesce(s.outcome_declared, c.outcome) = 'success'
        )
),
verdicts AS (
    SELECT * FROM verified
    UNION ALL
    SELECT * FROM declared
)
SELECT
    v.session_id,
    -- The session key stands for "no task declared": the verdict is on the whole session.
    nullif(v.task_id, v.session_id) AS task_id,
    v.outcome,
    v.evidence,
    v.source,
    v.score,
    v.decided_ns,
    c.recorded_ns
FROM verdicts AS v
CROSS JOIN config AS c;
