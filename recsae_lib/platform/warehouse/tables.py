"""Every table of the warehouse, declared once: columns with types and comments, key, partitioning, owner.

A column whose name ends in ``_version`` holds a number of the MLflow registry. Ids are strings everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from recsae_lib.config import Scope

STAMPS = ("dt", "model_version", "sae_version")  # columns that the warehouse fills in

STRING, INT, LONG, FLOAT, DOUBLE = T.StringType(), T.IntegerType(), T.LongType(), T.FloatType(), T.DoubleType()
BOOLEAN, DATE, TIMESTAMP = T.BooleanType(), T.DateType(), T.TimestampType()


def column(name: str, data_type: T.DataType, comment: str, nullable: bool = False) -> T.StructField:
    """Declare one column; columns hold no nulls unless told."""
    return T.StructField(name, data_type, nullable, {"comment": comment})


def array_of(element: T.DataType) -> T.ArrayType:
    """Declare an array without null elements."""
    return T.ArrayType(element, containsNull=False)


@dataclass(frozen=True)
class Table:
    """The declaration of one table.

    Parameters
    ----------
    name : name within the namespace.
    comment : one sentence: what a row is.
    owner : the only job that writes the table.
    schema : columns in order, each with a comment; ``dt`` comes first where the table is partitioned by it.
    key : columns that identify a row together (``dt`` included).
    scope : what the rows are the same for: all models on the same ``data``, all sites of one ``model``, or one
        ``audit``. Tables of each scope have a namespace of their own (`Settings.namespaces`).
    """

    name: str
    comment: str
    owner: str
    schema: T.StructType
    key: tuple[str, ...]
    scope: Scope = "audit"

    @property
    def partitioned_by_date(self) -> bool:
        """Whether the table is partitioned by ``dt`` (all derived tables are)."""
        return "dt" in self.schema.names

    @property
    def row_schema(self) -> T.StructType:
        """The columns of the rows that a job makes: all but those that the warehouse fills in."""
        return T.StructType([field for field in self.schema.fields if field.name not in STAMPS])

    def empty(self, spark: SparkSession) -> DataFrame:
        """No rows, with the columns of `row_schema`."""
        return spark.createDataFrame([], self.row_schema)


DT = column("dt", DATE, "Date of the audit that wrote the row")
MODEL_VERSION = column("model_version", INT, "Version of the recommender in the registry")
SAE_VERSION = column("sae_version", INT, "Version of the sparse autoencoder in the registry")
USER_ID = column("user_id", STRING, "User, as in the source data")
ITEM_ID = column("item_id", STRING, "Item, as in the source data")
LATENT_ID = column("latent_id", INT, "Latent: unit of the sparse autoencoder, 0 to M-1")
UNIT_KIND = column(
    "unit_kind",
    STRING,
    "What was measured: sae, shuffled (its latents, each judged by the terms of another one), init (randomly "
    "initialised SAE), dimension (raw dimensions of x)",
)
JUDGE = column("judge", STRING, "Who judged the cases: terms (term scorer) or llm")


def _derived(
    name: str,
    comment: str,
    owner: str,
    columns: list[T.StructField],
    key: tuple[str, ...],
    scope: Scope = "audit",
) -> Table:
    return Table(name, comment, owner, T.StructType([DT, *columns]), ("dt", *key), scope)


INTERACTIONS = Table(
    "interactions",
    "One interaction of a user with an item",
    "ingest_dataset",
    T.StructType(
        [
            USER_ID,
            ITEM_ID,
            column("weight", DOUBLE, "Strength of the interaction: a rating or a count; 1.0 where the source has none"),
            column("ts", TIMESTAMP, "Time of the interaction (UTC)"),
            column(
                "source_order", LONG, "Place in text files (0 without lines, a hash without time): breaks ties of ts"
            ),
        ]
    ),
    ("user_id", "item_id", "ts"),
    "data",
)

ITEMS = Table(
    "items",
    "One item of the catalogue",
    "ingest_dataset",
    T.StructType(
        [
            ITEM_ID,
            column("title", STRING, "Title for people to read; empty where the source has none"),
            column("text", STRING, "Text whose words become terms; empty where the source has none"),
            column("features", array_of(STRING), "Item features: genres, tags or categories"),
        ]
    ),
    ("item_id",),
    "data",
)

REJECTS = _derived(
    "rejects",
    "One row of the raw data that was refused, and why",
    "ingest_dataset",
    [
        column("source", STRING, "interactions or items"),
        column("file", STRING, "File or table the row stands in"),
        column("line", LONG, "Line of the file, from 1; null where the format has no lines", nullable=True),
        column("reason", STRING, "Why the row was refused"),
        column("record", STRING, "The row as it was read, as one text of at most 1,000 characters"),
    ],
    (),
    "data",
)

RECOMMENDATIONS = _derived(
    "recommendations",
    "The items linked to one user: recommended over the full catalogue, seen items masked; and the latest history",
    "recommend_items",
    [
        MODEL_VERSION,
        USER_ID,
        column("item_ids", array_of(STRING), "Recommended items, best first"),
        column("scores", array_of(FLOAT), "Scores of the recommended items, falling"),
        column("context_ids", array_of(STRING), "Latest items of the history, oldest first"),
    ],
    ("user_id",),
    "model",
)

LATENT_ACTIVATIONS = _derived(
    "latent_activations",
    "The active latents of one user",
    "encode_latents",
    [
        SAE_VERSION,
        USER_ID,
        column("latent_ids", array_of(INT), "Active latents by falling activation; at most k"),
        column("activations", array_of(FLOAT), "Activations of those latents, positive"),
    ],
    ("user_id",),
)

LATENT_ITEMS = _derived(
    "latent_items",
    "The evidence that links one latent to one item, from users of the construct half",
    "compute_concept_terms",
    [
        SAE_VERSION,
        LATENT_ID,
        ITEM_ID,
        column("weight", DOUBLE, "Sum of the activations of the users that the item is linked to"),
        column("users", LONG, "Users behind the weight"),
        column("rank", INT, "Rank by weight within the latent, from 1; ties break on item_id"),
    ],
    ("latent_id", "item_id"),
)

CONCEPT_TERMS = _derived(
    "concept_terms",
    "One term of one latent",
    "compute_concept_terms",
    [
        SAE_VERSION,
        LATENT_ID,
        column("term", STRING, "The term: words of item text in lower case, or an item feature as it is"),
        column("kind", STRING, "word (of item text) or feature (genre, tag, category)"),
        column("tf", DOUBLE, "Share of the term in the evidence of the latent"),
        column("tfidf", DOUBLE, "tf times the inverse frequency of the term"),
        column("lift", DOUBLE, "tf over the share of the term in the evidence of all latents together"),
        column("z_score", DOUBLE, "Log-odds ratio against all other latents, in standard deviations"),
        column("q_value", DOUBLE, "Binomial p-value after Benjamini-Hochberg over the tested terms; 1 if not tested"),
        column("significant", BOOLEAN, "Whether q_value undercuts the limit of the settings"),
        column("items", LONG, "Distinct linked items with the term"),
        column("users", LONG, "Largest number of users linked to one of those items: a lower bound of the support"),
        column("rank", INT, "Rank by tfidf within the latent, from 1; ties break on the term"),
    ],
    ("latent_id", "term", "kind"),
)

CONCEPT_LABELS = _derived(
    "concept_labels",
    "The label and description of one latent",
    "interpret_concepts",
    [
        SAE_VERSION,
        LATENT_ID,
        column("label", STRING, "A few words that name the concept"),
        column("description", STRING, "One or two sentences that say for which users the latent fires"),
        column("features", array_of(STRING), "Item features that the concept is about"),
        column("interpreter", STRING, "terms or openai"),
        column("llm_model", STRING, "Language model that answered", nullable=True),
        column("prompt_version", STRING, "Digest of the prompt", nullable=True),
        column("request_id", STRING, "Identity of the request by content", nullable=True),
        column("status", STRING, "labelled, or unlabelled where no term is significant"),
    ],
    ("latent_id",),
)

_REJECT_COLUMNS = [
    SAE_VERSION,
    LATENT_ID,
    column("request_id", STRING, "Identity of the request by content"),
    column("reason", STRING, "Why the answer was refused"),
    column("answer", STRING, "The answer as received, at most 10,000 characters", nullable=True),
]

CONCEPT_REJECTS = _derived(
    "concept_rejects",
    "One answer of a language model that was refused",
    "interpret_concepts",
    _REJECT_COLUMNS,
    ("latent_id",),
)

_VERDICT_COLUMNS = [
    column("confidence", DOUBLE, "(TP+TN)/cases; null without cases", nullable=True),
    column("confidence_low", DOUBLE, "Lower end of the 95 % Wilson interval of confidence", nullable=True),
    column("confidence_high", DOUBLE, "Upper end of the 95 % Wilson interval of confidence", nullable=True),
    column("recall", DOUBLE, "TP/(TP+FN); null without positives", nullable=True),
    column("specificity", DOUBLE, "TN/(TN+FP); null without negatives", nullable=True),
    column("precision", DOUBLE, "TP/(TP+FP); null where nothing was judged to fire", nullable=True),
    column("cases", INT, "Cases judged"),
    column("p_value", DOUBLE, "Chance that a coin does as well: P(Binomial(cases, 1/2) >= TP+TN)"),
    column("q_value", DOUBLE, "p_value after Benjamini-Hochberg over the latents of the judge"),
    column("interpretable", BOOLEAN, "confidence and q_value pass the limits of the settings"),
]


def requests_of(name: str, owner: str, about: str, key: tuple[str, ...]) -> Table:
    """Declare the table of the requests that one job makes to a language model."""
    return _derived(
        name,
        f"One request to a language model {about}, as the job's ledger of requests knows it",
        owner,
        [
            SAE_VERSION,
            LATENT_ID,
            column("request_id", STRING, "Identity of the request by content, and of the latent that it is about"),
            column("transport", STRING, "inline or batch"),
            column("batch_id", STRING, "The server's batch that it went with", nullable=True),
            column("state", STRING, "intended, submitted, answered or failed"),
            column("reused", BOOLEAN, "Whether it costs this audit nothing: another date or row paid for the same"),
            column("prompt_tokens", LONG, "Tokens of the prompt as the server counts; null if not told", nullable=True),
            column("completion_tokens", LONG, "Tokens of the answer as the server counts", nullable=True),
            column("cost", DOUBLE, "Price of those tokens by the settings; null without prices", nullable=True),
        ],
        key,
    )


INTERPRETATION_REQUESTS = requests_of(
    "interpretation_requests", "interpret_concepts", "about the name of one latent", ("latent_id",)
)
VERIFICATION_REQUESTS = requests_of(
    "verification_requests", "verify_concepts", "to judge cases of one latent", ("latent_id", "request_id")
)

VERIFICATION_CASES = _derived(
    "verification_cases",
    "One held-out user on whom the description of one latent was tried",
    "verify_concepts",
    [
        SAE_VERSION,
        LATENT_ID,
        JUDGE,
        USER_ID,
        column("kind", STRING, "positive, random (negative) or hard (negative that fires a nearest other latent)"),
        column("fires", BOOLEAN, "Whether the latent fires for the user at the required level"),
        column("judged", BOOLEAN, "Whether the judge says that it fires"),
    ],
    ("latent_id", "judge", "user_id"),
)

CONCEPT_SCORES = _derived(
    "concept_scores",
    "How well the description of one latent predicts where it fires",
    "verify_concepts",
    [
        SAE_VERSION,
        LATENT_ID,
        JUDGE,
        *_VERDICT_COLUMNS,
        column("best_feature", STRING, "Item feature that the activation tells apart best", nullable=True),
        column("best_feature_auc", DOUBLE, "ROC-AUC of the activation against best_feature", nullable=True),
        column(
            "best_feature_null_auc",
            DOUBLE,
            "Largest AUC over all features and 99 permutations of the users: best_feature is one that exceeds it",
            nullable=True,
        ),
        column(
            "best_feature_p_value",
            DOUBLE,
            "(1 + permutations whose largest AUC is as large as the latent's) / 100; null where no feature was tried",
            nullable=True,
        ),
        column("llm_model", STRING, "Language model that judged; null of judge terms", nullable=True),
        column("prompt_version", STRING, "Digest of the prompt that it was given", nullable=True),
    ],
    ("latent_id", "judge"),
)

SHUFFLED_SCORES = _derived(
    "shuffled_scores",
    "How well the terms of another latent predict where one latent fires: the null of concept_scores",
    "verify_concepts",
    [
        SAE_VERSION,
        LATENT_ID,
        JUDGE,
        column("label_of", INT, "Latent whose terms judged; null where there were none to give", nullable=True),
        *_VERDICT_COLUMNS,
    ],
    ("latent_id", "judge"),
)

VERIFICATION_REJECTS = _derived(
    "verification_rejects",
    "One answer of judge llm that was refused: its latent has no score by that judge",
    "verify_concepts",
    _REJECT_COLUMNS,
    ("latent_id", "request_id"),
)

CONCEPTS = _derived(
    "concepts",
    "One live latent as a concept: label, scores and reach; what people query",
    "publish_audit",
    [
        SAE_VERSION,
        LATENT_ID,
        column("label", STRING, "A few words that name the concept"),
        column("description", STRING, "One or two sentences that say for which users the latent fires"),
        column("features", array_of(STRING), "Item features that the concept is about"),
        column("interpreter", STRING, "terms or openai"),
        column("status", STRING, "labelled or unlabelled"),
        column("judge", STRING, "Who judged the cases", nullable=True),
        column("confidence", DOUBLE, "Share of held-out cases that the description predicts", nullable=True),
        column("confidence_low", DOUBLE, "Lower end of the 95 % Wilson interval of confidence", nullable=True),
        column("confidence_high", DOUBLE, "Upper end of the 95 % Wilson interval of confidence", nullable=True),
        column("q_value", DOUBLE, "Chance level of confidence after Benjamini-Hochberg", nullable=True),
        column("interpretable", BOOLEAN, "confidence and q_value pass the limits of the settings"),
        column("best_feature", STRING, "Item feature that the activation tells apart best", nullable=True),
        column("best_feature_auc", DOUBLE, "ROC-AUC of the activation against best_feature", nullable=True),
        column("active_users", LONG, "Users that the latent fires for"),
        column("density", DOUBLE, "active_users over all users"),
        column("mean_activation", DOUBLE, "Mean activation over the active users"),
    ],
    ("latent_id",),
)

CONCEPT_COVERAGE = _derived(
    "concept_coverage",
    "What share of features, items and users the interpretable units of one kind reach at one confidence",
    "measure_coverage",
    [
        SAE_VERSION,
        UNIT_KIND,
        column("min_confidence", DOUBLE, "Confidence from which a unit counts (its q-value must pass as well)"),
        column("feature_coverage", DOUBLE, "Share of item features that are a significant term of a counted unit"),
        column("item_coverage", DOUBLE, "Share of catalogue items linked to a counted unit"),
        column("user_coverage", DOUBLE, "Share of users for whom a counted unit fires"),
        column("shuffled_feature_coverage", DOUBLE, "feature_coverage after the labels were shuffled over the units"),
        column("units", LONG, "Units counted"),
        column("units_expected_by_chance", DOUBLE, "Units that a coin as judge would let count"),
    ],
    ("unit_kind", "min_confidence"),
)

AUDIT_METRICS = _derived(
    "audit_metrics",
    "One metric of the audit",
    "measure_coverage",
    [
        SAE_VERSION,
        column(
            "unit_kind",
            STRING,
            "What was measured: sae, shuffled (its latents, each judged by the terms of another one), init (randomly "
            "initialised SAE), dimension (raw dimensions of x), recommender, reconstructed (x̂ in place of x), "
            "popularity (the most popular items)",
        ),
        column("metric", STRING, "Name of the metric"),
        column("value", DOUBLE, "Its value; null where it is not defined", nullable=True),
    ],
    ("unit_kind", "metric"),
)

CONCEPT_DRIFT = _derived(
    "concept_drift",
    "One live latent of this audit or of an earlier one, and what became of it; no rows in the first audit",
    "compare_versions",
    [
        SAE_VERSION,
        column("previous_dt", DATE, "Date of the audit that this one is compared with"),
        column("previous_sae_version", INT, "Version of its sparse autoencoder in the registry"),
        column("pair", STRING, "previous_latent_id>latent_id, with nothing for what there is not"),
        column(
            "change",
            STRING,
            "stable (matched, similar terms), drifted (matched, other terms), split (of a latent that another one "
            "continues), merged (into a latent that continues another one), born or gone",
        ),
        column("previous_latent_id", INT, "Latent of the earlier audit; null if born", nullable=True),
        column("latent_id", INT, "Latent of this audit; null if gone", nullable=True),
        column("similarity_by", STRING, "decoder (cosine of rows) or activations (correlation over the same users)"),
        column("similarity", DOUBLE, "Of the two latents; null if born or gone", nullable=True),
        column("term_similarity", DOUBLE, "Cosine between their tfidf; null where either has no terms", nullable=True),
        column("previous_label", STRING, "Label in the earlier audit", nullable=True),
        column("label", STRING, "Label in this audit", nullable=True),
        column("terms_gained", array_of(STRING), "Top terms of latent_id that previous_latent_id had not, best first"),
        column("terms_lost", array_of(STRING), "Top terms of previous_latent_id that latent_id has not, best first"),
        column("previous_density", DOUBLE, "Share of the users that it fired for", nullable=True),
        column("density", DOUBLE, "Share of the users that it fires for", nullable=True),
    ],
    ("pair",),
)

COMPARISONS = _derived(
    "comparisons",
    "One metric of one audit of a study (`recsae compare`)",
    "compare",
    [
        column("data_set", STRING, "Data set, as the study names it"),
        column("model", STRING, "Model, as the study names it"),
        column("site", STRING, "Probing site"),
        column("unit_kind", STRING, "As in audit_metrics"),
        column("metric", STRING, "As in audit_metrics; columns of concept_coverage as feature_coverage_at_0.8"),
        column("value", DOUBLE, "Its value; null where there is nothing to measure", nullable=True),
    ],
    ("data_set", "model", "site", "unit_kind", "metric"),
    "data",
)

SAMPLE = column("sample", STRING, "Digest of the sample of concepts that people rate")
CASE_ID = column("case_id", STRING, "Anonymous name of the case on the page of the sample")
RATED_KIND = column(
    "kind", STRING, "concept, or a check of the rater: repeat (shown again), wrong_label (of another concept)"
)
RATED_LATENT_ID = column("latent_id", INT, "Latent whose terms and items are shown")

RATING_SAMPLES = _derived(
    "rating_samples",
    "One case of a sample of concepts that people rate: the key to the page, which tells neither latents nor checks",
    "ratings",
    [
        SAMPLE,
        SAE_VERSION,
        CASE_ID,
        column("place", INT, "Place on the page, from 1"),
        RATED_KIND,
        RATED_LATENT_ID,
        column("label_latent_id", INT, "Latent whose label is shown: another one where the label is wrong"),
        column("label", STRING, "Label as shown"),
        column("description", STRING, "Description as shown"),
        column("stratum", STRING, "Band of confidence, and interpretable or not, of latent_id"),
        column("stratum_concepts", INT, "Published concepts with a label in the stratum: its weight in a mean"),
        column("confidence", DOUBLE, "Confidence of latent_id when the sample was drawn", nullable=True),
        column("interpretable", BOOLEAN, "Whether latent_id was interpretable when the sample was drawn"),
    ],
    ("sample", "case_id"),
)

CONCEPT_RATINGS = _derived(
    "concept_ratings",
    "What one person says of one case: how well the label fits",
    "ratings",
    [
        SAMPLE,
        SAE_VERSION,
        CASE_ID,
        RATED_KIND,
        RATED_LATENT_ID,
        column("rater", STRING, "Who rated, by the name given on the page"),
        column("rating", INT, "1 (not at all) to 4 (very well)"),
    ],
    ("sample", "case_id", "rater"),
)

RATING_REJECTS = Table(  # no dt: a row may name no sample, and so no audit
    "rating_rejects",
    "One row of a file of ratings that was refused, and why",
    "ratings",
    T.StructType(
        [
            column("file", STRING, "Name of the file"),
            column("file_digest", STRING, "Digest of its content"),
            column("line", INT, "Line of the file, from 1"),
            column("reason", STRING, "Why the row was refused"),
            column("record", STRING, "The row as it was read, as JSON of at most 1,000 characters"),
        ]
    ),
    ("file_digest", "line"),
)

RATING_METRICS = _derived(
    "rating_metrics",
    "One figure of what people say of the concepts of one sample",
    "ratings",
    [
        SAMPLE,
        SAE_VERSION,
        column("raters", STRING, "Whose ratings count: all, or attentive (those who pass the checks)"),
        column("subject", STRING, "concepts (all), interpretable, not interpretable, stratum: NAME, rater: NAME"),
        column("metric", STRING, "Name of the figure, as `recsae ratings report` explains it"),
        column("value", DOUBLE, "Its value; null where it is not defined", nullable=True),
    ],
    ("sample", "raters", "subject", "metric"),
)

AUDITS = _derived(
    "audits",
    "One audit; the row is the commit point of its publication",
    "publish_audit",
    [
        MODEL_VERSION,
        SAE_VERSION,
        column("status", STRING, "published, or failed where a check kept the audit on its branch"),
        column("started_at", TIMESTAMP, "When the first job of the audit started (UTC)"),
        column("finished_at", TIMESTAMP, "When the audit was published or refused (UTC)"),
        column("config_digest", STRING, "Digest of the resolved settings"),
        column("code_version", STRING, "Version of the package and commit"),
    ],
    (),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        INTERACTIONS,
        ITEMS,
        REJECTS,
        RECOMMENDATIONS,
        LATENT_ACTIVATIONS,
        LATENT_ITEMS,
        CONCEPT_TERMS,
        CONCEPT_LABELS,
        CONCEPT_REJECTS,
        INTERPRETATION_REQUESTS,
        VERIFICATION_CASES,
        CONCEPT_SCORES,
        SHUFFLED_SCORES,
        VERIFICATION_REJECTS,
        VERIFICATION_REQUESTS,
        CONCEPTS,
        CONCEPT_COVERAGE,
        AUDIT_METRICS,
        CONCEPT_DRIFT,
        AUDITS,
    )
}
