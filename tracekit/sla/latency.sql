-- One latency term over one period: slices whose statistic keeps it, of those with calls.
-- Reads  sla_attempts. {metric} is what is measured, {statistic} its statistic over a slice, {keeps} whether a value
--        keeps the term; {slice} is what is compared by itself.
-- Makes  one row: kept and measured slices (or calls), the calls behind them, and without_ttft, calls whose time to first
--        token nobody measured: their speed includes the wait, and is a lower bound.

WITH asked AS (
    SELECT {slice} AS slice, {metric} AS value, ttft_s IS NULL AS is_without_ttft
    FROM sla_attempts
    WHERE start_ns >= {since_ns} AND start_ns < {until_ns} AND {scope} AND failure_class IS NULL
),
slices AS (
    SELECT
        slice,
        {statistic} AS value,
        count(*) AS calls,
        count(*) FILTER (WHERE is_without_ttft) AS without_ttft
    FROM asked
    WHERE value IS NOT NULL
    GROUP BY slice
)
SELECT
    count(*) AS measured,
    count(*) FILTER (WHERE value {keeps} {threshold}) AS kept,
    coalesce(sum(calls), 0) AS calls,
    coalesce(sum(without_ttft), 0) AS without_ttft
FROM slices
