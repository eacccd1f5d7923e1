-- Sessions, in the order asked for.
SELECT {columns}
FROM sessions
WHERE {where}
ORDER BY {sort} {direction} NULLS LAST, session_id
LIMIT {limit}
