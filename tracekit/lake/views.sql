-- The public views: stored columns, times as timestamps, and outcomes resolved as of a time.
-- Reads  lake.sessions, lake.tasks, lake.attempts, lake.outcomes, lake.spans (the files; the first
--        outcomes are those recorded by then). names in braces stand for column lists.
-- Makes  sessions, tasks, attempts, outcomes, spans in the main schema.

CREATE VIEW outcomes AS
SELECT
    {outcomes},
    make_timestamp(decided_ns // 1000) AS decided_at,
    make_timestamp(recorded_ns // 1000) AS recorded_at,
    date
FROM lake.outcomes;

CREATE VIEW detections AS
SELECT {detections}, date
FROM lake.detections;

CREATE VIEW baselines AS
SELECT {baselines}, date
FROM lake.baselines;

CREATE VIEW spans AS
SELECT
    {spans},
    make_timestamp(start_ns // 1000) AS started_at,
    make_timestamp(end_ns // 1000) AS ended_at,
    date
FROM lake.spans;

CREATE VIEW attempts AS
SELECT {attempts}, make_timestamp(start_ns // 1000) AS started_at, date
FROM lake.attempts;

-- Verified beats declared beats inferred. Within a level the verdict reached last counts; of two
-- reached at once the one the lake learned of last; the rest only makes the answer repeatable.
-- A check that could not tell (a score without a verdict) says nothing against one that could.
CREATE VIEW lake.ranked_outcomes AS
SELECT
    *,
    row(coalesce(decided_ns, recorded_ns), recorded_ns, source, outcome) AS standing
FROM lake.outcomes
WHERE outcome <> 'undetermined';

-- What was said of a session: of it or any task of it, and of it as a whole.
CREATE VIEW lake.session_verdicts AS
SELECT
    session_id,
    arg_max(outcome, standing) FILTER (WHERE evidence = 'verified') AS verified,
    arg_max(outcome, standing) FILTER (WHERE evidence = 'declared') AS declared,
    arg_max(outcome, standing) FILTER (WHERE evidence = 'verified' AND task_id IS NULL)
        AS whole_verified,
    arg_max(outcome, standing) FILTER (WHERE evidence = 'declared' AND task_id IS NULL)
        AS whole_declared
FROM lake.ranked_outcomes
GROUP BY session_id;

-- The only task of a session is what the session was about: a verdict on either is on both.
CREATE VIEW lake.only_tasks AS
SELECT t.*, v.verified, v.declared
FROM (SELECT * FROM lake.tasks WHERE lake_only_task) AS t
LEFT JOIN lake.session_verdicts AS v ON t.session_id = v.session_id;

-- One of several tasks has the verdicts that name it.
CREATE VIEW lake.several_tasks AS
WITH several AS (
    SELECT * FROM lake.tasks WHERE NOT lake_only_task
),
task_verdicts AS (
    SELECT
        session_id,
        task_id,
        arg_max(outcome, standing) FILTER (WHERE evidence = 'verified') AS verified,
        arg_max(outcome, standing) FILTER (WHERE evidence = 'declared') AS declared
    FROM lake.ranked_outcomes
    WHERE task_id IS NOT NULL AND session_id IN (SELECT session_id FROM several)
    GROUP BY session_id, task_id
)
SELECT t.*, v.verified, v.declared
FROM several AS t
LEFT JOIN task_verdicts AS v ON t.session_id = v.session_id AND t.task_id = v.task_id;

CREATE VIEW tasks AS
SELECT
    {tasks},
    make_timestamp(start_ns // 1000) AS started_at,
    make_timestamp(end_ns // 1000) AS ended_at,
    date,
    coalesce(verified, declared, outcome_inferred, 'undetermined') AS outcome,
    CASE
        WHEN verified IS NOT NULL THEN 'verified'
        WHEN declared IS NOT NULL THEN 'declared'
        ELSE 'inferred'
    END AS outcome_source
FROM (SELECT * FROM lake.only_tasks UNION ALL SELECT * FROM lake.several_tasks);

-- A session of several tasks failed if a task it needs failed, and succeeded if all of those
-- succeeded. A failure is as sure as its surest failed task, a success as its least sure task.
CREATE VIEW lake.task_sums AS
WITH needed AS (
    SELECT
        session_id,
        coalesce(verified, declared, outcome_inferred, 'undetermined') AS outcome,
        CASE WHEN verified IS NOT NULL THEN 2 WHEN declared IS NOT NULL THEN 1 ELSE 0 END AS level
    FROM lake.several_tasks
    WHERE coalesce(essential, true)
),
summed AS (
    SELECT
        session_id,
        max(level) FILTER (WHERE outcome = 'failure') AS failure_level,
        min(level) FILTER (WHERE outcome <> 'failure') AS level,
        bool_and(outcome = 'success') AS is_success
    FROM needed
    GROUP BY session_id
)
SELECT
    session_id,
    coalesce(failure_level, CASE WHEN is_success THEN level ELSE 0 END) AS level,
    CASE
        WHEN failure_level IS NOT NULL THEN 'failure'
        WHEN is_success THEN 'success'
        ELSE 'undetermined'
    END AS outcome
FROM summed;

-- Of a session of several tasks, a verdict on the whole stands against the sum of its tasks by
-- level, and wins a tie: who judged the whole knew of the tasks.
CREATE VIEW lake.judged_sessions AS
SELECT
    s.* REPLACE (CASE WHEN s.kept THEN s.weight END AS weight),
    CASE
        WHEN s.tasks > 1 THEN coalesce(
            v.whole_verified, CASE WHEN t.level = 2 THEN t.outcome END
        )
        ELSE v.verified
    END AS verified,
    CASE
        WHEN s.tasks > 1 THEN coalesce(
            v.whole_declared, CASE WHEN t.level = 1 THEN t.outcome END
        )
        ELSE v.declared
    END AS declared,
    CASE WHEN s.tasks > 1 THEN t.outcome ELSE s.outcome_inferred END AS inferred
FROM lake.sessions AS s
LEFT JOIN lake.session_verdicts AS v ON s.session_id = v.session_id
LEFT JOIN lake.task_sums AS t ON s.session_id = t.session_id;

CREATE VIEW sessions AS
SELECT
    {sessions},
    make_timestamp(start_ns // 1000) AS started_at,
    make_timestamp(end_ns // 1000) AS ended_at,
    make_timestamp(decided_ns // 1000) AS decided_at,
    make_timestamp(overruled_ns // 1000) AS overruled_at,
    date,
    coalesce(verified, declared, inferred, 'undetermined') AS outcome,
    CASE
        WHEN verified IS NOT NULL THEN 'verified'
        WHEN declared IS NOT NULL THEN 'declared'
        ELSE 'inferred'
    END AS outcome_source
FROM lake.judged_sessions;
