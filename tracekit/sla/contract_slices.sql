-- One period of one provider's terms: its calls by slice of time, as the terms see them.
-- Reads  sla_attempts. {scope}, {class_} and {unit} are of the terms; slices count from {from_ns}, the period's start.
-- Makes  sla_slices: a row per unit and slice with the calls that are eligible (not left out), counted, excluded,
--        uncounted, unstated, and unplaced: those that do not say whether the terms speak of them.

CREATE OR REPLACE TEMP TABLE sla_slices AS
WITH asked AS (
    SELECT
        {unit} AS unit,
        (start_ns - {from_ns}) // {slice_ns} AS slice,
        stands_for,
        CASE WHEN {scope} THEN {class_} ELSE 'unplaced' END AS class
    FROM sla_attempts
    WHERE start_ns >= {since_ns} AND start_ns < {until_ns} AND coalesce({scope}, TRUE)
)
SELECT
    unit,
    slice,
    coalesce(sum(stands_for) FILTER (WHERE class NOT IN ('excluded', 'unplaced')), 0) AS eligible,
    coalesce(sum(stands_for) FILTER (WHERE class = 'counted'), 0) AS counted,
    coalesce(sum(stands_for * stands_for) FILTER (WHERE class NOT IN ('excluded', 'unplaced')), 0)
        AS eligible_squares,
    coalesce(sum(stands_for * stands_for) FILTER (WHERE class = 'counted'), 0) AS counted_squares,
    coalesce(sum(stands_for) FILTER (WHERE class = 'excluded'), 0) AS excluded,
    coalesce(sum(stands_for) FILTER (WHERE class = 'uncounted'), 0) AS uncounted,
    coalesce(sum(stands_for) FILTER (WHERE class = 'unstated'), 0) AS unstated,
    coalesce(sum(stands_for) FILTER (WHERE class = 'unplaced'), 0) AS unplaced
FROM asked
GROUP BY unit, slice
