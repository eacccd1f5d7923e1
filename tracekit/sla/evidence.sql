-- The failed calls of a period, as a claim needs them.
-- Reads  sla_attempts. {terms}, {scope} and {class_} are of the terms, {period} names the period.
SELECT
    strftime(started_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS utc_time,
    {terms} AS terms,
    {period} AS period,
    {class_} AS class,
    provider,
    server_address AS endpoint,
    region,
    model,
    {tier} AS service_tier,
    http_status,
    error_type,
    failure_class,
    request_id,
    trace_id,
    span_id,
    duration_s
FROM sla_attempts
WHERE start_ns >= {since_ns} AND start_ns < {until_ns} AND {scope} AND {class_} <> 'good'
ORDER BY start_ns, span_id
