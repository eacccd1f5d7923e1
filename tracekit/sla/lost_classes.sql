-- What one provider's terms say of the calls that ended tasks.
-- Reads  sla_lost_calls. {terms} is the id, {scope} and {class_} are the terms' conditions.
INSERT INTO sla_lost_classes
SELECT session_id, task_id, {terms}, {class_}
FROM sla_lost_calls
WHERE {scope}
