-- usage -> span_costs: what each billable call cost, reported or computed.
--
-- Reads `usage` and, filled by usage_table.py:
--   rate_cards     rates by provider, models ('' for none), tier, time and context length
--   priced_models  every (provider, request_model, response_model) of usage; known: it has rates
--   service_tiers  tier names as written (raw_tier) -> tier
--   price_book     one row: version; now_ns, the time assumed for calls that have none
--
-- Counts overlap: input = uncached + cache_read + cache_write; cache_write includes
-- cache_write_1h; output includes reasoning.

CREATE OR REPLACE TEMP TABLE span_costs AS
WITH counts AS (
    SELECT
        row_id,
        coalesce(CAST(provider AS VARCHAR), '') AS provider,
        coalesce(CAST(request_model AS VARCHAR), '') AS request_model,
        coalesce(CAST(response_model AS VARCHAR), '') AS response_model,
        -- The tier that served is the one that bills; the one asked for counts only where the
        -- answer names none.
        coalesce(
            nullif(lower(trim(CAST(service_tier AS VARCHAR))), ''),
            nullif(lower(trim(CAST(service_tier_requested AS VARCHAR))), ''),
            'standard'
        ) AS raw_tier,
        CASE WHEN start_ns > 0 THEN start_ns ELSE now_ns END AS at_ns,
        input_tokens,
        uncached_tokens,
        -- What nobody counted is 0, except the input: every call has some.
        coalesce(cache_read_tokens, 0) AS n_cache_read,
        coalesce(cache_write_tokens, cache_write_1h_tokens, 0) AS n_cache_write,
        coalesce(cache_write_1h_tokens, 0) AS n_cache_write_1h,
        coalesce(output_tokens, 0) AS n_output,
        coalesce(reasoning_tokens, 0) AS n_reasoning,
        -- Negative, infinite and absurd costs are some exporter's sentinels, not money.
        CASE WHEN cost_reported BETWEEN 0 AND 1e9 THEN cost_reported END AS reported,
        version
    FROM usage CROSS JOIN price_book
),

parts AS (
    SELECT
        *,
        coalesce(uncached_tokens, input_tokens - n_cache_read - n_cache_write) AS n_uncached,
        coalesce(input_tokens, uncached_tokens + n_cache_read + n_cache_write) AS n_input
    FROM counts
),

-- At most one rate fits a call: the rates of a model and tier are disjoint.
rated AS (
    SELECT
        p.*,
        m.known,
        t.tier,
        r.tier AS rate_tier,
        -- A count of 0 costs nothing, also where its kind has no price (output of embeddings).
        CASE WHEN n_uncached = 0 THEN 0 ELSE n_uncached * r.uncached_input END
        + CASE WHEN n_cache_read = 0 THEN 0 ELSE n_cache_read * r.cache_read END
        + CASE
            WHEN n_cache_write = n_cache_write_1h THEN 0
            ELSE (n_cache_write - n_cache_write_1h) * r.cache_write
        END
        + CASE WHEN n_cache_write_1h = 0 THEN 0 ELSE n_cache_write_1h * r.cache_write_1h END
        + CASE
            WHEN n_output = n_reasoning THEN 0
            ELSE (n_output - n_reasoning) * r.output
        END
        + CASE WHEN n_reasoning = 0 THEN 0 ELSE n_reasoning * r.reasoning END AS micro_usd,
        r.request AS request_usd,
        -- Counts that contradict each other cannot be priced: their cost would be wrong in silence.
        -- (Reasoning above output is a source that counts reasoning beside the output.)
        least(
            n_uncached, n_cache_read, n_cache_write - n_cache_write_1h, n_cache_write_1h,
            n_output - n_reasoning, n_reasoning
        ) < 0 AS contradictory
    FROM parts AS p
    LEFT JOIN priced_models AS m
        ON p.provider = m.provider
        AND p.request_model = m.request_model
        AND p.response_model = m.response_model
    LEFT JOIN service_tiers AS t ON p.raw_tier = t.raw_tier
    LEFT JOIN rate_cards AS r
        ON p.provider = r.provider
        AND p.request_model = r.request_model
        AND p.response_model = r.response_model
        AND t.tier = r.tier
        AND p.at_ns >= r.valid_from_ns
        AND p.at_ns < r.valid_to_ns
        AND p.at_ns % 86400000000000 >= r.day_from_ns
        AND p.at_ns % 86400000000000 < r.day_to_ns
        AND p.n_input > r.input_above
        AND p.n_input <= r.input_upto
),

judged AS (
    SELECT
        *,
        CASE
            -- Two zeros are an exporter's way to say nothing: a call that was served had input.
            WHEN n_input IS NULL OR (n_input = 0 AND n_output = 0) THEN 'no_usage'
            WHEN request_model = '' AND response_model = '' THEN 'no_model'
            WHEN contradictory THEN 'unpriced_tokens'
            WHEN NOT known OR (rate_tier IS NULL AND tier = 'standard') THEN 'unknown_model'
            WHEN rate_tier IS NULL THEN 'unpriced_tier'
            WHEN micro_usd IS NULL THEN 'unpriced_tokens'
        END AS reason
    FROM rated
),

computed AS (
    SELECT
        *,
        CASE WHEN reason IS NULL THEN micro_usd / 1e6 + request_usd END AS computed_usd
    FROM judged
),

-- A reported 0 for generated tokens is what gateways write when they do not know the price
-- (LiteLLM) or do not bill the call themselves (OpenRouter with the caller's own key). It is
-- believed only where the price really is 0, or nothing was generated.
believed AS (
    SELECT
        *,
        CASE WHEN reported > 0 OR n_output = 0 OR computed_usd = 0 THEN reported END AS reported_usd
    FROM computed
)

SELECT
    row_id,
    coalesce(reported_usd, computed_usd) AS cost_usd,
    CASE
        WHEN reported_usd IS NOT NULL THEN 'reported'
        WHEN computed_usd IS NOT NULL THEN 'computed'
    END AS cost_source,
    CASE WHEN reported_usd IS NULL AND computed_usd IS NOT NULL THEN version END AS price_version,
    CASE WHEN reported_usd IS NULL THEN reason END AS cost_missing_reason,
    computed_usd AS computed_cost_usd
FROM believed;
