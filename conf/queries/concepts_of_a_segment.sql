-- Which concepts drive a segment? The segment: users of whose recommended items a larger share than of the average user's
-- has the feature :feature.
-- lift: how much more often the latent fires in the segment than for everybody.
-- recsae sql --file conf/queries/concepts_of_a_segment.sql --parameter feature=Comedy
WITH newest AS (SELECT max(dt) AS dt FROM concepts),
fires AS (
  SELECT user_id, explode(latent_ids) AS latent_id FROM latent_activations JOIN newest USING (dt)
),
recommended AS (
  SELECT user_id, explode(item_ids) AS item_id FROM recommendations JOIN newest USING (dt)
),
shares AS (
  SELECT user_id, avg(CASE WHEN array_contains(features, CAST(:feature AS STRING)) THEN 1 ELSE 0 END) AS share
  FROM recommended LEFT JOIN items USING (item_id)
  GROUP BY user_id
),
segment AS (SELECT user_id FROM shares WHERE share > (SELECT avg(share) FROM shares)),
sizes AS (
  SELECT (SELECT count(*) FROM segment) AS segment_users,
         (SELECT count(*) FROM latent_activations JOIN newest USING (dt)) AS all_users
),
counts AS (
  SELECT latent_id, count(*) AS users, count(segment.user_id) AS users_in_segment
  FROM fires LEFT JOIN segment USING (user_id)
  GROUP BY latent_id
)
SELECT latent_id, label, interpretable, users_in_segment, users_in_segment / segment_users AS share_of_segment,
       (users_in_segment / segment_users) / (users / all_users) AS lift
FROM counts JOIN concepts USING (latent_id) JOIN newest USING (dt) CROSS JOIN sizes
WHERE users_in_segment > 0
ORDER BY lift DESC, users_in_segment DESC, latent_id
