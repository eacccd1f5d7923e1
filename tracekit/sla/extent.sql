-- When the calls in scope of some terms were made.
-- Reads  sla_attempts.
SELECT min(start_ns) AS first_ns, max(start_ns) AS last_ns FROM sla_attempts WHERE {where}
