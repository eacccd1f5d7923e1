-- First and last minute with a call that the terms speak of.
-- Reads  sla_minutes.
SELECT min(minute) AS first, max(minute) AS last FROM sla_minutes WHERE eligible + excluded > 0
