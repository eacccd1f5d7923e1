-- What an availability is reckoned from, by any method, per unit.
-- Reads  sla_minutes from {since} to {until}, not included, in slices of {minutes} minutes from {start} on. A slice is down above {error_rate} of at least {min_requests} calls, and counts in runs of at least
--        {min_slices} slices without a break.
-- Makes  a row per unit: calls by class, slices with calls, bad slices and the runs they lie in, and rate_sum, the sum
--        over the slices of their share of counted errors.

WITH slices AS (
    SELECT
        unit,
        (minute - {start}) // {minutes} AS slice,
        sum(eligible) AS eligible,
        sum(counted) AS counted,
        sum(eligible_squares) AS eligible_squares,
        sum(counted_squares) AS counted_squares,
        sum(excluded) AS excluded,
        sum(uncounted) AS uncounted,
        sum(unstated) AS unstated,
        sum(unplaced) AS unplaced
    FROM sla_minutes
    WHERE minute >= {since} AND minute < {until}
    GROUP BY unit, slice
),
judged AS (
    SELECT *, eligible >= {min_requests} AND counted > {error_rate} * eligible AS is_down
    FROM slices
),
runs AS (
    SELECT unit, slice - row_number() OVER (PARTITION BY unit ORDER BY slice) AS run
    FROM judged
    WHERE is_down
),
long_runs AS (
    SELECT unit, run, count(*) AS slices
    FROM runs
    GROUP BY unit, run
    HAVING count(*) >= {min_slices}
),
down AS (
    SELECT unit, sum(slices) AS bad_slices, count(*) AS outages
    FROM long_runs
    GROUP BY unit
),
sums AS (
    SELECT
        unit,
        sum(eligible) AS eligible,
        sum(eligible_squares) AS eligible_squares,
        sum(counted) AS counted,
        sum(counted_squares) AS counted_squares,
        sum(excluded) AS excluded,
        sum(uncounted) AS uncounted,
        sum(unstated) AS unstated,
        sum(unplaced) AS unplaced,
        count(*) FILTER (WHERE eligible > 0) AS slices_with_data,
        sum(counted / eligible) FILTER (WHERE eligible > 0) AS rate_sum
    FROM judged
    GROUP BY unit
)
SELECT s.*, coalesce(d.bad_slices, 0) AS bad_slices, coalesce(d.outages, 0) AS outages
FROM sums AS s
LEFT JOIN down AS d ON d.unit IS NOT DISTINCT FROM s.unit
ORDER BY s.unit
