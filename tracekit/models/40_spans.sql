-- Everything known about a span, side by side.
-- Reads  normalised, span_costs, waste, value_map.
-- Makes  complete (view).
--
-- `spans` is the columns of schema.yaml from this view, and `numbered_spans` the same with `row_id`:
-- pipeline.py writes that list. Below them is the one wide copy of the models, as all that follows
-- reads it many times.

-- Words whose meaning is the same in every dialect.
CREATE OR REPLACE TEMP VIEW words AS
SELECT column_name, raw, canonical FROM value_map WHERE dialect = '*';

CREATE OR REPLACE TEMP VIEW complete AS
SELECT
    n.* EXCLUDE (approval_status, side_effect),
    coalesce(wa.canonical, n.approval_status) AS approval_status,
    coalesce(we.canonical, n.side_effect) AS side_effect,
    c.cost_usd,
    c.cost_source,
    c.price_version,
    c.cost_missing_reason,
    c.computed_cost_usd,
    c.row_id IS NOT NULL AS billable,
    w.waste_reason,
    CASE WHEN w.row_id IS NOT NULL THEN c.cost_usd END AS wasted_cost_usd
FROM normalised AS n
LEFT JOIN span_costs AS c ON c.row_id = n.row_id
LEFT JOIN waste AS w ON w.row_id = n.row_id
LEFT JOIN words AS wa ON wa.column_name = 'approval_status' AND wa.raw = lower(n.approval_status)
LEFT JOIN words AS we ON we.column_name = 'side_effect' AND we.raw = lower(n.side_effect);
