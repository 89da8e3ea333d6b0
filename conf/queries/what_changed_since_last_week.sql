-- What changed since last week? Every latent that did not stay as it was, in the audits of the seven days up to the
-- newest: drifted, split, merged, born or gone, with the terms that came and went.
SELECT dt, change, previous_latent_id, latent_id, previous_label, label, similarity, term_similarity, terms_gained,
       terms_lost
FROM concept_drift
WHERE change <> 'stable' AND dt > date_sub((SELECT max(dt) FROM concepts), 7)
ORDER BY dt DESC, change, previous_latent_id, latent_id
