-- Outages per group: runs of slices in which most attempts at one provider and region failed; and how long tasks take.
-- Reads  sla_calls, sla_tasks. {slice_ns}, {failing}, {attempts} are those of thresholds.yaml.
-- Makes  a row per group: outages, task_s (median), period_s (first to last attempt).

WITH chosen AS (
    SELECT {keys} start_ns, start_ns // {slice_ns} AS slice, failure_class, provider, region
    FROM sla_calls
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND NOT is_aborted AND {where}
),
slices AS (
    SELECT {names} provider, region, slice, min(start_ns) AS first_ns, max(start_ns) AS last_ns,
        count(*) >= {attempts} AND count(failure_class) >= {failing} * count(*) AS is_down
    FROM chosen
    GROUP BY {names} provider, region, slice
),
down AS (
    SELECT {names} provider, region, slice,
        slice - row_number() OVER (PARTITION BY {names} provider, region ORDER BY slice) AS run
    FROM slices
    WHERE is_down
),
runs AS (
    SELECT DISTINCT {names} provider, region, run FROM down
),
others AS (
    SELECT {names} count(*) AS outages FROM runs GROUP BY {group}
),
groups AS (
    SELECT {names} (max(last_ns) - min(first_ns)) / 1e9 AS period_s FROM slices GROUP BY {group}
),
with_outages AS (
    SELECT groups.*, coalesce(others.outages, 0) AS outages
    FROM groups
    LEFT JOIN others ON {same_group}
),
chosen_tasks AS (
    SELECT {keys} duration_s
    FROM sla_tasks
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND {where}
),
task_lengths AS (
    SELECT {names} quantile_cont(duration_s, 0.5) AS task_s FROM chosen_tasks GROUP BY {group}
)
SELECT groups.*, others.task_s
FROM with_outages AS groups
LEFT JOIN task_lengths AS others ON {same_group}
