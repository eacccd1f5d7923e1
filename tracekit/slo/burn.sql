-- What of the error budget burned over several windows that end at each of a row of moments.
-- Reads  slo_events; windows: rule, part (0 is the long window; the short one and wider ones follow),
--        steps (length), rate (bad share at which the rule fires), is_last (no wider one).
-- Steps are of {step_ns} ns, the first ends at {origin_ns} + {step_ns}; for slices a step is a slice.
WITH buckets AS (
    SELECT
        (at_ns - {origin_ns}) // {step_ns} + 1 AS step,
        sum(good + bad) AS tasks,
        sum(bad) AS bad
    FROM slo_events
    WHERE good + bad > 0 AND at_ns >= {origin_ns}
    GROUP BY step
),
units AS (
    SELECT step, tasks, {total_unit} AS total, {bad_unit} AS bad FROM buckets
),
grid AS (
    SELECT g.step AS step FROM range(0, {steps} + 1) AS g (step)
),
running AS (
    SELECT
        g.step,
        sum(coalesce(u.tasks, 0)) OVER steps AS tasks,
        sum(coalesce(u.total, 0)) OVER steps AS total,
        sum(coalesce(u.bad, 0)) OVER steps AS bad
    FROM grid AS g
    LEFT JOIN units AS u ON g.step = u.step
    WINDOW steps AS (ORDER BY g.step ROWS UNBOUNDED PRECEDING)
),
windows (rule, part, steps, rate, is_last) AS (
    VALUES {windows}
),
spans AS (
    SELECT
        n.step,
        w.rule,
        w.part,
        w.rate,
        w.is_last,
        n.tasks - b.tasks AS tasks,
        n.total - b.total AS total,
        n.bad - b.bad AS bad
    FROM running AS n
    CROSS JOIN windows AS w
    INNER JOIN running AS b ON b.step = n.step - w.steps
    WHERE n.step >= {first_step}
),
-- Of the short window and the wider ones, the first that has enough tasks to tell anything.
rules AS (
    SELECT
        step,
        rule,
        max(rate) AS rate,
        max(tasks) FILTER (WHERE part = 0) AS tasks,
        max(total) FILTER (WHERE part = 0) AS total,
        max(bad) FILTER (WHERE part = 0) AS bad,
        min(part) FILTER (WHERE part > 0 AND (tasks >= {min_short} OR is_last)) AS part
    FROM spans
    GROUP BY step, rule
)
SELECT
    r.step,
    r.rule,
    r.tasks,
    r.total,
    r.bad,
    s.total AS short_total,
    s.bad AS short_bad
FROM rules AS r
INNER JOIN spans AS s ON r.step = s.step AND r.rule = s.rule AND r.part = s.part
WHERE {every} OR (r.bad > r.rate * r.total AND s.bad > r.rate * s.total)
ORDER BY r.step, r.rule
