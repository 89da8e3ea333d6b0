-- Which users fire a concept? Those of latent :latent in the newest audit, the strongest first.
-- recsae sql --file conf/queries/users_of_a_concept.sql --parameter latent=17 --format csv
WITH newest AS (SELECT max(dt) AS dt FROM concepts)
SELECT user_id, activations[array_position(latent_ids, CAST(:latent AS INT)) - 1] AS activation
FROM latent_activations JOIN newest USING (dt)
WHERE array_contains(latent_ids, CAST(:latent AS INT))
ORDER BY activation DESC, user_id
