-- Three of the four service level indicators per group: how many were bad, of how many.
-- Reads  sla_calls, sla_failed_calls, sla_tasks. {keys}, {names}, {group} are the grouping, {where} a condition over columns of tasks.
-- Makes  a row per group and indicator: total and bad, with sums of squared weights beside them; undetermined tasks;
--        recovered calls (they failed for good, and a later one made them good).

WITH chosen AS (
    SELECT {keys} is_final, failure_class, stands_for,
        -- The provider answered, and the answer is that it does not answer.
        coalesce(stop_class IN ('policy.model_refusal', 'policy.content_filtered'), FALSE) AS is_refused
    FROM sla_calls
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND NOT is_aborted AND {where}
),
attempt_sums AS (
    SELECT {names}
        sum(stands_for) AS total,
        sum(stands_for * stands_for) AS total_squares,
        sum(stands_for) FILTER (WHERE failure_class IS NOT NULL OR is_refused) AS bad,
        sum(stands_for * stands_for) FILTER (WHERE failure_class IS NOT NULL OR is_refused) AS bad_squares,
        sum(stands_for) FILTER (WHERE is_final) AS calls,
        sum(stands_for * stands_for) FILTER (WHERE is_final) AS calls_squares
    FROM chosen
    GROUP BY {group}
),
judged AS (
    SELECT {keys} session_id, task_id, caller, start_ns, end_ns, is_recovered, stands_for
    FROM sla_failed_calls
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND {where}
),
-- A call that was to make one good which had failed, and failed too, is no loss of its own.
merged AS (
    SELECT {names} stands_for,
        CASE
            WHEN is_recovered THEN 'recovered'
            WHEN start_ns >= min(end_ns) FILTER (WHERE NOT is_recovered) OVER (
                PARTITION BY session_id, task_id, caller
            ) THEN 'follows'
            ELSE 'lost'
        END AS what
    FROM judged
),
failed_sums AS (
    SELECT {names}
        sum(stands_for) FILTER (WHERE what = 'recovered') AS recovered,
        sum(stands_for) FILTER (WHERE what <> 'lost') AS merged,
        sum(stands_for * stands_for) FILTER (WHERE what <> 'lost') AS merged_squares,
        sum(stands_for) FILTER (WHERE what = 'lost') AS lost,
        sum(stands_for * stands_for) FILTER (WHERE what = 'lost') AS lost_squares
    FROM merged
    GROUP BY {group}
),
-- A call and the one that made it good, or was to, are one call to whoever waits for an answer.
call_sums AS (
    SELECT groups.*, others.recovered, others.merged, others.merged_squares, others.lost, others.lost_squares
    FROM attempt_sums AS groups
    LEFT JOIN failed_sums AS others ON {same_group}
),
chosen_tasks AS (
    SELECT {keys} outcome, stands_for
    FROM sla_tasks
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND {where}
),
task_sums AS (
    SELECT {names}
        sum(stands_for) FILTER (WHERE outcome IN ('success', 'failure')) AS total,
        sum(stands_for * stands_for) FILTER (WHERE outcome IN ('success', 'failure')) AS total_squares,
        sum(stands_for) FILTER (WHERE outcome = 'failure') AS bad,
        sum(stands_for * stands_for) FILTER (WHERE outcome = 'failure') AS bad_squares,
        sum(stands_for) FILTER (WHERE outcome NOT IN ('success', 'failure')) AS undetermined
    FROM chosen_tasks
    GROUP BY {group}
)
SELECT {names} 1 AS place, 'attempt' AS sli, total, total_squares, bad, bad_squares,
    0 AS undetermined, 0 AS recovered
FROM attempt_sums
UNION ALL
SELECT {names} 2, 'call', calls - coalesce(merged, 0), calls_squares - coalesce(merged_squares, 0), lost,
    lost_squares, 0, recovered
FROM call_sums
UNION ALL
SELECT {names} 3, 'task', total, total_squares, bad, bad_squares, undetermined, 0
FROM task_sums
ORDER BY {names} place
