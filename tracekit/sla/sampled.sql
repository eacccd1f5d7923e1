-- Whether the lake holds nothing but a sample, and the weight of the session that stands for most others.
-- Reads  sessions.
SELECT
    coalesce(bool_or(weight <> 1) AND bool_and(kept), FALSE) AS it,
    coalesce(max(weight), 1) AS largest
FROM sessions
