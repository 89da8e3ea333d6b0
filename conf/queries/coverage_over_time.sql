-- Coverage over time: what the interpretable latents reach at each night's confidence of 0.8, beside chance.
SELECT dt, sae_version, units, units_expected_by_chance, feature_coverage, shuffled_feature_coverage, item_coverage,
       user_coverage
FROM concept_coverage
WHERE unit_kind = 'sae' AND abs(min_confidence - 0.8) < 1e-9
ORDER BY dt
