-- One time window of an objective, by all three budgeting methods.
-- Reads  slo_events.
WITH events AS (
    SELECT *, (at_ns - {from_ns}) // {slice_ns} AS slice
    FROM slo_events
    WHERE at_ns >= {from_ns} AND at_ns < {to_ns}
),
slices AS (
    SELECT
        slice,
        sum(good) AS good,
        sum(bad) AS bad,
        sum(bad) / sum(good + bad) AS bad_share
    FROM events
    WHERE good + bad > 0
    GROUP BY slice
),
scored AS (
    SELECT *, CASE WHEN 1 - bad_share < {slice_target} THEN 1 ELSE 0 END AS is_bad FROM slices
),
-- Failures of one provider that follow one another within {gap_ns} ns are one incident; every other
-- bad task stands for itself.
spaced AS (
    SELECT
        incident,
        at_ns,
        lag(at_ns) OVER (PARTITION BY incident ORDER BY at_ns) AS before_ns
    FROM events
    WHERE incident IS NOT NULL AND bad = 1
),
numbered AS (
    SELECT
        incident,
        sum(CASE WHEN before_ns IS NULL OR at_ns - before_ns > {gap_ns} THEN 1 ELSE 0 END)
            OVER (PARTITION BY incident ORDER BY at_ns ROWS UNBOUNDED PRECEDING) AS number
    FROM spaced
),
incidents AS (
    SELECT incident, number, count(*) AS tasks FROM numbered GROUP BY incident, number
),
-- Slices that spend more than their share of the budget, one after the other, are one, too.
overspent AS (
    SELECT
        slice,
        {bad_unit} AS unit,
        slice - row_number() OVER (ORDER BY slice) AS run
    FROM scored
    WHERE {bad_unit} > {budget}
),
runs AS (
    SELECT run, sum(unit) AS units FROM overspent GROUP BY run
),
of_events AS (
    SELECT
        coalesce(sum(good), 0) AS good,
        coalesce(sum(bad), 0) AS bad,
        coalesce(sum(undetermined), 0) AS undetermined,
        coalesce(sum(not_counted), 0) AS not_counted,
        count(*) FILTER (WHERE bad = 1 AND incident IS NULL) AS lone_bad,
        count(*) FILTER (WHERE sampled) AS sampled,
        max(at_ns) AS last_ns
    FROM events
),
of_slices AS (
    SELECT
        count(*) AS measured,
        coalesce(sum(is_bad), 0) AS bad_slices,
        coalesce(sum(bad_share), 0.0) AS bad_shares,
        coalesce(
            sum({bad_unit} * {bad_unit}) FILTER (WHERE {bad_unit} <= {budget}), 0.0
        ) AS other_squares,
        count(*) FILTER (WHERE {bad_unit} <= {budget} AND {bad_unit} > 0) AS other_bad
    FROM scored
)
SELECT
    of_events.*,
    of_slices.*,
    (SELECT count(*) FROM incidents) AS incidents,
    (SELECT coalesce(sum(tasks * tasks), 0) FROM incidents) AS incident_squares,
    (SELECT count(*) FROM runs) AS runs,
    (SELECT coalesce(sum(units * units), 0.0) FROM runs) AS run_squares
FROM of_events
CROSS JOIN of_slices
