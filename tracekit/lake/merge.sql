-- All scanned rows of the sessions to derive, each span once.
-- Reads  together: incoming spans and those of the touched sessions, as they were scanned;
--        repeated: the ids of spans that are in it more than once.
-- Gives  scanned.

-- Of several copies of a span the one that ended last stays: some exporters send a span at its
-- start and again at its end. Then one that names its run: who publishes recordings of others may
-- not know it. The rest of the order is arbitrary, but total: it may not depend on
-- which copy came first, or the lake would depend on the order of imports.
SELECT t.*
FROM together AS t
ANTI JOIN repeated AS r ON t.trace_id = r.trace_id AND t.span_id = r.span_id
UNION ALL
SELECT t.*
FROM together AS t
SEMI JOIN repeated AS r ON t.trace_id = r.trace_id AND t.span_id = r.span_id
QUALIFY row_number() OVER (
    PARTITION BY t.trace_id, t.span_id
    ORDER BY t.end_ns DESC NULLS LAST, t.start_ns, t.workflow_name IS NULL, md5(t::VARCHAR)
) = 1;
