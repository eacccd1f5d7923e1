-- How many calls tasks need, and how often attempts fail: what the arithmetic of a chain of calls rests on.
-- Reads  sla_calls. {keys}, {names}, {group} are the grouping.
-- Makes  a row per group and number of calls a task needed: tasks, attempts, failed attempts, second attempts and those
--        that failed, all weighted.

WITH chosen AS (
    SELECT {keys} session_id, task_id, attempt, is_final, failure_class, stands_for,
        is_final AND coalesce(essential, TRUE) AS is_needed
    FROM sla_calls
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND NOT is_aborted AND {where}
),
per_task AS (
    SELECT {names} session_id, task_id, max(stands_for) AS stands_for,
        count(*) FILTER (WHERE is_needed) AS calls,
        count(*) AS attempts,
        count(failure_class) AS failed,
        count(*) FILTER (WHERE attempt = 2) AS seconds,
        count(failure_class) FILTER (WHERE attempt = 2) AS failed_seconds
    FROM chosen
    GROUP BY {names} session_id, task_id
)
SELECT {names} calls,
    sum(stands_for) AS tasks,
    sum(stands_for * attempts) AS attempts,
    sum(stands_for * failed) AS failed,
    sum(stands_for * seconds) AS seconds,
    sum(stands_for * failed_seconds) AS failed_seconds
FROM per_task
GROUP BY {names} calls
ORDER BY {names} calls
