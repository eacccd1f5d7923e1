-- The events of one objective: its tasks, each good, bad, undetermined or not counted.
-- Reads  tasks, sessions, outcomes (resolved as of the connection's time).
-- Makes  slo_events: at_ns (the end of the task: only then it has an outcome), good, bad, undetermined,
--        not_counted (0 or 1), incident (provider whose failure this bad task is; else null),
--        sampled (the task stands for others that are not here).

CREATE OR REPLACE TEMP TABLE slo_events AS
WITH said AS (
    SELECT
        session_id,
        task_id,
        outcome,
        row(coalesce(decided_ns, recorded_ns), recorded_ns, source, outcome) AS standing
    FROM outcomes
    WHERE evidence = 'verified' AND outcome <> 'undetermined' AND list_contains({sources}, source)
),
said_of_tasks AS (
    SELECT session_id, task_id, arg_max(outcome, standing) AS outcome
    FROM said
    WHERE task_id IS NOT NULL
    GROUP BY session_id, task_id
),
-- What is said of a session of one task, or of that task, is said of both.
said_of_sessions AS (
    SELECT session_id, arg_max(outcome, standing) AS outcome
    FROM said
    WHERE session_id IN (SELECT session_id FROM sessions WHERE tasks = 1)
    GROUP BY session_id
),
judged AS (
    SELECT
        tasks.* REPLACE (
            CASE
                WHEN {truth} = 'proxy' THEN tasks.outcome
                WHEN {truth} = 'human' THEN coalesce(s.outcome, t.outcome, 'undetermined')
                WHEN tasks.outcome_source = 'verified' THEN tasks.outcome
                ELSE 'undetermined'
            END AS outcome
        )
    FROM tasks
    LEFT JOIN said_of_sessions AS s ON tasks.session_id = s.session_id
    LEFT JOIN said_of_tasks AS t
        ON tasks.session_id = t.session_id AND tasks.task_id = t.task_id
    WHERE coalesce(tasks.end_ns, tasks.start_ns) >= {from_ns}
        AND coalesce(tasks.end_ns, tasks.start_ns) < {to_ns}
),
selected AS (
    SELECT
        session_id,
        coalesce(end_ns, start_ns) AS at_ns,
        provider,
        stop_fault,
        CASE
            WHEN TRY({not_counted}) THEN 'not_counted'
            WHEN TRY({bad}) THEN 'bad'
            WHEN TRY({good}) THEN 'good'
            ELSE 'undetermined'
        END AS verdict
    FROM judged
    WHERE TRY({where})
)
SELECT
    e.at_ns,
    CASE WHEN e.verdict = 'good' THEN 1 ELSE 0 END AS good,
    CASE
        WHEN e.verdict = 'bad' OR (e.verdict = 'undetermined' AND {undetermined_is_bad}) THEN 1
        ELSE 0
    END AS bad,
    CASE WHEN e.verdict = 'undetermined' THEN 1 ELSE 0 END AS undetermined,
    CASE WHEN e.verdict = 'not_counted' THEN 1 ELSE 0 END AS not_counted,
    CASE WHEN e.verdict = 'bad' AND e.stop_fault = 'P' THEN coalesce(e.provider, '') END AS incident,
    -- Where the dropped sessions are here too, each speaks for itself alone.
    s.weight IS DISTINCT FROM 1
        AND s.session_id IS NOT NULL
        AND (SELECT bool_and(kept) FROM sessions) AS sampled
FROM selected AS e
LEFT JOIN sessions AS s ON e.session_id = s.session_id
