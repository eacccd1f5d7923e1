-- The calls of one provider by minute, as its terms see them: all that any method of reckoning needs.
-- Reads  sla_attempts. {scope}, {class_} and {unit} are of the terms.
-- Makes  sla_minutes: a row per unit and minute with the calls that are eligible (not left out), counted, excluded,
--        uncounted, unstated, and unplaced: those that do not say whether the terms speak of them.

CREATE OR REPLACE TEMP TABLE sla_minutes AS
WITH asked AS (
    SELECT
        {unit} AS unit,
        start_ns // 60000000000 AS minute,
        stands_for,
        CASE WHEN {scope} THEN {class_} ELSE 'unplaced' END AS class
    FROM sla_attempts
    WHERE start_ns >= {from_ns} AND start_ns < {to_ns} AND coalesce({scope}, TRUE)
),
classes AS (
    SELECT unit, minute, class, sum(stands_for) AS calls, sum(stands_for * stands_for) AS squares
    FROM asked
    GROUP BY unit, minute, class
)
SELECT
    unit,
    minute,
    coalesce(sum(calls) FILTER (WHERE class NOT IN ('excluded', 'unplaced')), 0) AS eligible,
    coalesce(sum(calls) FILTER (WHERE class = 'counted'), 0) AS counted,
    coalesce(sum(squares) FILTER (WHERE class NOT IN ('excluded', 'unplaced')), 0) AS eligible_squares,
    coalesce(sum(squares) FILTER (WHERE class = 'counted'), 0) AS counted_squares,
    coalesce(sum(calls) FILTER (WHERE class = 'excluded'), 0) AS excluded,
    coalesce(sum(calls) FILTER (WHERE class = 'uncounted'), 0) AS uncounted,
    coalesce(sum(calls) FILTER (WHERE class = 'unstated'), 0) AS unstated,
    coalesce(sum(calls) FILTER (WHERE class = 'unplaced'), 0) AS unplaced
FROM classes
GROUP BY unit, minute
