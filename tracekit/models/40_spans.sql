-- Everything known about a span, side by side.
-- Reads  normalised, span_costs, failures, waste, value_map, unbilled_failures.
-- Makes  complete (view).
--
-- `ledger_spans` is a copy of this view, as all that follows reads it many times: of the columns of
-- schema.yaml that are made or read again (pipeline.py writes that list), beside `row_id`.

-- Words whose meaning is the same in every dialect.
CREATE OR REPLACE TEMP VIEW words AS
SELECT column_name, raw, canonical FROM value_map WHERE dialect = '*';

-- A call refused before the model ran has no usage because there was none: it cost nothing. Any
-- other call without usage has an unknown cost.
CREATE OR REPLACE TEMP TABLE refused AS
SELECT c.row_id
FROM span_costs AS c
JOIN failures AS f ON f.row_id = c.row_id
JOIN unbilled_failures AS u ON u.code = f.failure_class
WHERE c.cost_missing_reason = 'no_usage';

CREATE OR REPLACE TEMP VIEW complete AS
SELECT
    n.* EXCLUDE (approval_status, side_effect),
    coalesce(wa.canonical, n.approval_status) AS approval_status,
    coalesce(we.canonical, n.side_effect) AS side_effect,
    CASE WHEN x.row_id IS NOT NULL THEN 0 ELSE c.cost_usd END AS cost_usd,
    CASE WHEN x.row_id IS NOT NULL THEN 'unbilled' ELSE c.cost_source END AS cost_source,
    c.price_version,
    CASE WHEN x.row_id IS NULL THEN c.cost_missing_reason END AS cost_missing_reason,
    c.computed_cost_usd,
    c.row_id IS NOT NULL AS billable,
    w.waste_reason,
    CASE
        WHEN w.row_id IS NULL THEN NULL
        WHEN x.row_id IS NOT NULL THEN 0
        ELSE c.cost_usd
    END AS wasted_cost_usd
FROM normalised AS n
LEFT JOIN span_costs AS c ON c.row_id = n.row_id
LEFT JOIN refused AS x ON x.row_id = n.row_id
LEFT JOIN waste AS w ON w.row_id = n.row_id
LEFT JOIN words AS wa ON wa.column_name = 'approval_status' AND wa.raw = lower(n.approval_status)
LEFT JOIN words AS we ON we.column_name = 'side_effect' AND we.raw = lower(n.side_effect);
