"""What the latents are about: their terms, names and verdicts, and the requests behind these."""

from __future__ import annotations

from recsae_lib.platform.warehouse.tables.declaration import (
    BOOLEAN,
    DOUBLE,
    INT,
    INTERPRETER,
    LATENT_ID,
    LONG,
    SAE_VERSION,
    STRING,
    USER_ID,
    Table,
    array_of,
    column,
    derived,
)

JUDGE = column("judge", STRING, "Who judged the cases: terms (term scorer) or llm")

CONCEPT_TERMS = derived(
    "concept_terms",
    "One term of one latent",
    "compute_concept_terms",
    [
        SAE_VERSION,
        LATENT_ID,
        column("term", STRING, "The term: words of item text in lower case, or a feature as it is"),
        column("kind", STRING, "word (of item text), feature (genre, tag, category) or derived (derived feature)"),
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

CONCEPT_LABELS = derived(
    "concept_labels",
    "The label and description of one latent",
    "interpret_concepts",
    [
        SAE_VERSION,
        LATENT_ID,
        column("label", STRING, "A few words that name the concept; unnamed where status is unlabelled"),
        column("description", STRING, "One or two sentences that say for which users the latent fires"),
        column("features", array_of(STRING), "Item features and derived ones that the concept is about"),
        INTERPRETER,
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

CONCEPT_REJECTS = derived(
    "concept_rejects",
    "One answer of a language model that was refused",
    "interpret_concepts",
    _REJECT_COLUMNS,
    ("latent_id",),
)

# Columns that earlier versions did not have are null in their rows.
_VERDICT_COLUMNS = [
    column("confidence", DOUBLE, "(recall + specificity)/2; null without cases", nullable=True),
    column("confidence_low", DOUBLE, "Lower end of the 95 % Wilson interval of confidence", nullable=True),
    column("confidence_high", DOUBLE, "Upper end of the 95 % Wilson interval of confidence", nullable=True),
    column("recall", DOUBLE, "TP/(TP+FN); null without positives", nullable=True),
    column("specificity", DOUBLE, "TN/(TN+FP), by terms the mean of it and hard_specificity", nullable=True),
    column("precision", DOUBLE, "TP/(TP+FP); null where nothing was judged to fire", nullable=True),
    column("cases", INT, "Users judged: all of the held-out sample by terms, drawn ones by llm"),
    column("p_value", DOUBLE, "Chance that a coin does as well on effective_cases"),
    column("q_value", DOUBLE, "p_value after Benjamini-Hochberg over the latents of the judge"),
    column("interpretable", BOOLEAN, "confidence and q_value of this judge pass the limits of the settings"),
    column("hard_specificity", DOUBLE, "Of the hard negatives: share rightly said not to fire", nullable=True),
    column("auc", DOUBLE, "Chance that the score of a positive exceeds that of a negative", nullable=True),
    column("hard_auc", DOUBLE, "The same against hard negatives", nullable=True),
    column("effective_cases", DOUBLE, "Users of equal weight whose confidence is as sure", nullable=True),
]
_BEST_FEATURE = [
    column(
        "best_feature",
        STRING,
        "Item feature of users that the activation tells apart best: what makes the latent fire",
        nullable=True,
    ),
    column("best_feature_auc", DOUBLE, "ROC-AUC of the activation against best_feature", nullable=True),
]
_REMOVAL = [
    column(
        "removal_effect",
        DOUBLE,
        "Share of its name in the first 20 recommendations that removing the latent takes away, for users for whom it "
        "fires; null where it has no name, or where items are not scored from the representation",
        nullable=True,
    ),
    column("removal_low", DOUBLE, "Lower end of the 95 % interval of removal_effect over users", nullable=True),
    column("removal_high", DOUBLE, "Upper end of that interval", nullable=True),
    column("removal_other", DOUBLE, "The same where another latent's direction is taken away as far", nullable=True),
    column("removal_p_value", DOUBLE, "Chance that the latent's own direction does no more than others", nullable=True),
]
_FOUND_AGAIN = [
    column("found_again", DOUBLE, "Correlation with its match in an SAE of another seed; 0 without", nullable=True),
    column("found_again_id", INT, "Latent of that SAE that it is matched with", nullable=True),
]


def requests_of(name: str, writer: str, about: str, key: tuple[str, ...]) -> Table:
    """Declare the table of the requests that one job makes to a language model."""
    return derived(
        name,
        f"One request to a language model {about}, as the job's ledger of requests knows it",
        writer,
        [
            SAE_VERSION,
            LATENT_ID,
            column("request_id", STRING, "Identity of the request by content, and of the latent that it is about"),
            column("transport", STRING, "inline or batch"),
            column("batch_id", STRING, "The server's batch that it went with", nullable=True),
            column("state", STRING, "intended, submitted, answered or failed"),
            column("reused", BOOLEAN, "Whether it costs this audit nothing: another date or row paid for the same"),
            column(
                "prompt_tokens", LONG, "Tokens of the prompt as the server counts; null if it does not", nullable=True
            ),
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

VERIFICATION_CASES = derived(
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

CONCEPT_SCORES = derived(
    "concept_scores",
    "How well the description of one latent predicts where it fires",
    "verify_concepts",
    [
        SAE_VERSION,
        LATENT_ID,
        JUDGE,
        *_VERDICT_COLUMNS,
        *_BEST_FEATURE,
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
        *_REMOVAL,
        column("removal_equal_dose", DOUBLE, "removal_effect where x moves as far for all dictionaries", nullable=True),
        column("removal_users", INT, "Users behind removal_effect", nullable=True),
        *_FOUND_AGAIN,
    ],
    ("latent_id", "judge"),
)

SHUFFLED_SCORES = derived(
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

VERIFICATION_REJECTS = derived(
    "verification_rejects",
    "One answer of judge llm that was refused: its latent has no score by that judge",
    "verify_concepts",
    _REJECT_COLUMNS,
    ("latent_id", "request_id"),
)

CONCEPTS = derived(
    "concepts",
    "One live latent as a concept: label, scores and reach; what people query",
    "publish_audit",
    [
        SAE_VERSION,
        LATENT_ID,
        column("label", STRING, "A few words that name the concept; unnamed where status is unlabelled"),
        column("description", STRING, "One or two sentences that say for which users the latent fires"),
        column("features", array_of(STRING), "Item features and derived ones that the concept is about"),
        INTERPRETER,
        column("status", STRING, "labelled or unlabelled"),
        column("judge", STRING, "Who judged the cases", nullable=True),
        column("confidence", DOUBLE, "(recall + specificity)/2 on held-out users", nullable=True),
        column("confidence_low", DOUBLE, "Lower end of the 95 % Wilson interval of confidence", nullable=True),
        column("confidence_high", DOUBLE, "Upper end of the 95 % Wilson interval of confidence", nullable=True),
        column("q_value", DOUBLE, "Chance level of confidence after Benjamini-Hochberg", nullable=True),
        column("interpretable", BOOLEAN, "Every judge finds it interpretable: terms, and llm where it judges"),
        *_BEST_FEATURE,
        column("active_users", LONG, "Users that the latent fires for"),
        column("density", DOUBLE, "active_users over all users"),
        column("mean_activation", DOUBLE, "Mean activation over the active users"),
        column("auc", DOUBLE, "Chance that the terms score a positive above a negative", nullable=True),
        column("hard_auc", DOUBLE, "The same against hard negatives", nullable=True),
        *_REMOVAL,
        *_FOUND_AGAIN,
        column(
            "confirmed",
            BOOLEAN,
            "Interpretable (and so named), removal_effect and removal_p_value pass the limits of the settings, and so "
            "does found_again; null in rows of earlier versions",
            nullable=True,
        ),
        column("same_as", INT, "Latent about the same thing with the most users; null of that one", nullable=True),
        column(
            "artefact",
            STRING,
            "title, id or time (of the first interaction): the order in which the top items stand next to each other, "
            "as those of a list rather than a taste; null where they do in none",
            nullable=True,
        ),
        column(
            "artefact_p_value",
            DOUBLE,
            "Chance that items drawn at random stand so in any of the three orders; null without items, and in rows of "
            "earlier versions",
            nullable=True,
        ),
        column(
            "output_feature",
            STRING,
            "Item feature that a step along the latent pushes up most: what it does to the lists, while best_feature "
            "says what makes it fire; null where none stands out, and in rows of earlier versions",
            nullable=True,
        ),
        column("output_score", DOUBLE, "Output score of output_feature, as in latent_effects", nullable=True),
    ],
    ("latent_id",),
)
