-- What does the model know? The concepts of the newest audit, confirmed and sure ones first, each with its best terms.
WITH newest AS (SELECT max(dt) AS dt FROM concepts),
terms AS (
  SELECT latent_id, array_join(transform(array_sort(collect_list(struct(rank, term))), t -> t.term), ', ') AS terms
  FROM concept_terms JOIN newest USING (dt)
  WHERE significant AND rank <= 5
  GROUP BY latent_id
)
SELECT latent_id, label, confirmed, interpretable, confidence, confidence_low, confidence_high, removal_effect, found_again,
       q_value, active_users, density, terms.terms
FROM concepts JOIN newest USING (dt) LEFT JOIN terms USING (latent_id)
ORDER BY confirmed DESC NULLS LAST, interpretable DESC, confidence DESC NULLS LAST, q_value, latent_id
