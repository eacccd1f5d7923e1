-- Distinct values of `stop_spans` whose meaning is looked up outside SQL: (kind, raw).
SELECT 'framework' AS kind, stop_framework_raw AS raw FROM stop_spans WHERE stop_framework_raw IS NOT NULL GROUP BY stop_framework_raw
UNION ALL
SELECT 'error' AS kind, error_type AS raw FROM stop_spans WHERE error_type IS NOT NULL GROUP BY error_type
UNION ALL
SELECT 'tool' AS kind, tool_status AS raw FROM stop_spans WHERE tool_status IS NOT NULL GROUP BY tool_status
UNION ALL
SELECT 'declared' AS kind, task_status AS raw FROM stop_spans WHERE task_status IS NOT NULL GROUP BY task_status
UNION
SELECT 'declared' AS kind, done_status AS raw FROM stop_spans WHERE done_status IS NOT NULL GROUP BY done_status
UNION ALL
SELECT 'approval' AS kind, approval_status AS raw FROM stop_spans WHERE approval_status IS NOT NULL GROUP BY approval_status
UNION ALL
SELECT 'verdict' AS kind, eval_label AS raw FROM stop_spans WHERE eval_label IS NOT NULL GROUP BY eval_label;
