-- Weighted totals per bootstrap replicate: each cluster is drawn Poisson(1) times in each of them.
--
-- units(cluster, y, x): weighted totals per cluster, its name a text.
-- replicates(replicate): 1 to B.
-- The draw is a hash of seed, replicate and cluster, in 64-bit integers that never overflow, so any
-- engine draws the same: md5 to 28-bit numbers, then x -> x^5, a permutation of the integers below
-- the prime 2^31 - 1, between multiplications. The limits are those of Poisson(1) times that prime.
WITH named AS (
    SELECT cluster, y, x, md5(cluster) AS name FROM units
),
numbered AS (
    SELECT
        y,
        x,
        {first} AS k1,
        {second} AS k2
    FROM named
),
seeded AS (
    SELECT y, x, k2, (k1 * 48271 + {seed}) % 2147483647 AS h FROM numbered
),
seeded_2 AS (
    SELECT y, x, k2, h, (h * h % 2147483647) * (h * h % 2147483647) % 2147483647 AS fourth FROM seeded
),
joined AS (
    SELECT y, x, ((fourth * h % 2147483647) * 69621 + k2) % 2147483647 AS h FROM seeded_2
),
joined_2 AS (
    SELECT y, x, h, (h * h % 2147483647) * (h * h % 2147483647) % 2147483647 AS fourth FROM joined
),
drawn AS (
    SELECT
        r.replicate,
        j.y,
        j.x,
        (fourth * h % 2147483647) * (r.replicate + 1) % 2147483647 AS h
    FROM joined_2 AS j
    CROSS JOIN replicates AS r
),
drawn_2 AS (
    SELECT
        replicate, y, x, h,
        (h * h % 2147483647) * (h * h % 2147483647) % 2147483647 AS fourth
    FROM drawn
),
mixed AS (
    SELECT replicate, y, x, ((fourth * h % 2147483647) * 39373 + 1) % 2147483647 AS h FROM drawn_2
),
mixed_2 AS (
    SELECT
        replicate, y, x, h,
        (h * h % 2147483647) * (h * h % 2147483647) % 2147483647 AS fourth
    FROM mixed
),
hashed AS (
    SELECT replicate, y, x, fourth * h % 2147483647 AS h FROM mixed_2
),
counted AS (
    SELECT
        replicate,
        y,
        x,
        CASE
            {limits}
            ELSE {most}
        END AS times
    FROM hashed
)
SELECT replicate, sum(times * y) AS y, sum(times * x) AS x
FROM counted
GROUP BY replicate
ORDER BY replicate
