-- Events that stand for others that are not here.
SELECT count(*) FILTER (WHERE sampled) AS tasks FROM slo_events
