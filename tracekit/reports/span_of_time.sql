-- First and last start of the selected tasks.
SELECT min(started_at) AS first_start, max(started_at) AS last_start
FROM tasks
WHERE {where}
