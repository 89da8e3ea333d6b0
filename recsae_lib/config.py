"""Typed settings: conf/base.yaml ← --conf file ← --set a.b=c, every key known, every value bounded.

Each class is one section of the YAML file. The description of a field is what ``recsae config --help-settings`` prints.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsae_lib.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A group of settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PathSettings(Section):
    var: str = Field("var", description="Folder under which every local file of a run is written.")
    bulk: str = Field("var/bulk", description="Folder of the bulk Parquet files that Petastorm reads.")
    tracking_uri: str = Field(
        "sqlite:///var/mlflow/mlflow.db", description="MLflow tracking and registry address (any that MLflow takes)."
    )
    artifacts: str = Field("var/mlflow/artifacts", description="Where MLflow keeps the artifacts of new experiments.")


class SparkSettings(Section):
    properties: str = Field(
        "conf/spark/local.conf",
        description="Spark properties file (master, memory, catalogs) of `recsae run`; spark-submit brings its own.",
    )


class ColumnMapping(Section):
    user_id: str = Field("user_id", description="Column that holds the user id.")
    item_id: str = Field("item_id", description="Column that holds the item id.")
    weight: str | None = Field(None, description="Column that holds the weight (a rating, a count); 1.0 where unset.")
    ts: str | None = Field(
        "ts",
        description="Column that holds the time: a timestamp, ISO 8601 text, or Unix time in s, ms, µs or ns, told by "
        "its size. Where unset, a user's items are in the order of the lines, or of item_id where there are none.",
    )
    title: str | None = Field("title", description="Column of the item table that holds the title.")
    text: str | None = Field(None, description="Column of the item table that holds free text; the title where unset.")
    features: str | None = Field(
        "features", description="Column of the item table that holds the item features: an array, or text to split."
    )


class DatasetSettings(Section):
    format: Literal[
        "movielens_100k_embedded",
        "movielens_100k",
        "movielens_1m",
        "movielens_csv",
        "recbole",
        "parquet",
        "csv",
        "table",
    ] = Field(
        "movielens_100k_embedded",
        description="Raw format: MovieLens-100K out of the recbole package, a MovieLens release, RecBole atomic files, "
        "or your own Parquet, CSV or Spark tables.",
    )
    path: str | None = Field(
        None, description="Folder of the raw files (MovieLens and RecBole formats); not read by the other formats."
    )
    interactions: str | None = Field(
        None, description="File, folder or Spark table of interactions (parquet, csv and table formats)."
    )
    items: str | None = Field(None, description="File, folder or Spark table of items (parquet, csv, table formats).")
    columns: ColumnMapping = Field(
        default_factory=ColumnMapping, description="Names of your columns (parquet, csv, table)."
    )
    feature_separator: Annotated[str, Field(min_length=1, max_length=3)] = Field(
        "|", description="What separates item features where a column holds them as one text (csv, parquet, table)."
    )

    @model_validator(mode="after")
    def _sources_named(self) -> DatasetSettings:
        if self.format in ("parquet", "csv", "table") and not (self.interactions and self.items):
            raise ValueError(f"format {self.format} needs dataset.interactions and dataset.items")
        if self.format in ("movielens_100k", "movielens_1m", "movielens_csv", "recbole") and not self.path:
            raise ValueError(f"format {self.format} needs dataset.path, the folder of the raw files")
        return self


class SasrecSettings(Section):
    layers: Annotated[int, Field(ge=1, le=12)] = Field(1, description="Transformer blocks.")
    heads: Annotated[int, Field(ge=1, le=16)] = Field(1, description="Attention heads a block.")
    history_length: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Latest interactions that are read.")
    inner_dimension: PositiveInt = Field(64, description="Width of the feed-forward layer.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.5, description="Dropout while training.")
    loss: Literal["cross_entropy", "bpr"] = Field(
        "cross_entropy", description="Full softmax over the catalogue, or BPR with one sampled negative."
    )
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-3, description="Adam learning rate.")
    l2: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Weight decay.")
    batch_size: PositiveInt = Field(128, description="Training windows (not interactions) a step.")
    epochs: PositiveInt = Field(200, description="Largest number of passes over the training interactions.")
    patience: PositiveInt = Field(15, description="Evaluations without a better dev NDCG before training stops.")


class BprMfSettings(Section):
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1e-3, description="Adam learning rate.")
    l2: Annotated[float, Field(ge=0.0)] = Field(1e-6, description="λ: weight of the squared norms in the loss.")
    batch_size: PositiveInt = Field(2048, description="Interactions a step.")
    epochs: PositiveInt = Field(200, description="Largest number of passes over the training interactions.")
    patience: PositiveInt = Field(25, description="Evaluations without a better dev NDCG before training stops.")


class RecommenderSettings(Section):
    kind: Literal["sasrec", "bpr_mf"] = Field("sasrec", description="Family of the recommender.")
    version: Literal["candidate", "latest"] | PositiveInt = Field(
        "candidate",
        description="Version of the registered recommender to read: candidate (what train_recommender made last), "
        "latest, or a number; resolved once, when the job starts.",
    )
    dimension: Annotated[int, Field(ge=2, le=4096)] = Field(64, description="d: width of a representation.")
    sasrec: SasrecSettings = Field(default_factory=SasrecSettings, description="Settings of kind sasrec.")
    bpr_mf: BprMfSettings = Field(default_factory=BprMfSettings, description="Settings of kind bpr_mf.")
    selection_cutoff: PositiveInt = Field(
        10, description="Cut-off of the dev NDCG that selects the epoch (10), e.g. NDCG@10."
    )
    evaluation_users: PositiveInt = Field(
        100_000, description="At most so many users, drawn by the seed, in each evaluation pass."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> RecommenderSettings:
        if self.kind == "sasrec" and self.dimension % self.sasrec.heads:
            raise ValueError(f"sasrec.heads ({self.sasrec.heads}) must divide dimension ({self.dimension})")
        return self


class RepresentationSettings(Section):
    site: str = Field("last", description="Probing site: where the representation is read ('last' is every model's).")
    training_positions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="Sampled positions a user in the training rows of a sequential recommender."
    )
    row_group_mib: Annotated[float, Field(gt=0.0, le=512.0)] = Field(
        16.0, description="Size that a Parquet row group should have."
    )
    minimum_row_groups: PositiveInt = Field(
        4, description="Row groups that the training rows have at least (one a training process or more)."
    )
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(1024, description="Users a forward pass.")
    fidelity_users: PositiveInt = Field(
        10_000, description="Users, drawn by hash, whose held-out item measures what reconstruction keeps."
    )


class RecommendationSettings(Section):
    top_n: Annotated[int, Field(ge=1, le=1000)] = Field(20, description="Recommended items a user (P_u).")
    context_items: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="Latest items of the history that count as context (H_u)."
    )
    block_users: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="Users scored in one block.")


class SaeSettings(Section):
    version: Literal["candidate", "champion"] | PositiveInt = Field(
        "candidate", description="SAE version to read: an alias, or a number; resolved once, when the job starts."
    )
    expansion_factor: Annotated[int, Field(ge=1, le=256)] = Field(16, description="s: M = s·d latents.")
    k: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Latents that may be active for a row.")
    auxiliary_coefficient: Annotated[float, Field(ge=0.0, le=1.0)] = Field(1 / 32, description="α, weight of AuxK.")
    auxiliary_k: PositiveInt | None = Field(None, description="k_aux; d/2 where unset.")
    dead_after_rows: PositiveInt | None = Field(
        None, description="Rows without firing that make a latent dead; one pass, at most 10 million, where unset."
    )
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="Adam learning rate; 2e-4/√(M/2¹⁴) where unset."
    )
    batch_size: PositiveInt = Field(1024, description="Representations a step.")
    epochs: PositiveInt = Field(50, description="Passes over the training rows.")
    patience: PositiveInt = Field(10, description="Epochs without a lower FVU before training stops.")
    loader_workers: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Petastorm reader threads; only 1 gives the same order on every run."
    )


class EvidenceSettings(Section):
    linked_items: Literal["recommended", "context"] = Field(
        "recommended", description="What links an item to a user: recommended to them (P_u) or in their context (H_u)."
    )
    salt: str = Field("recsae", description="Salt of the hash that splits users into construct and verify halves.")
    items_per_latent: Annotated[int, Field(ge=1, le=10_000)] = Field(
        200, description="Items of the largest evidence that a latent keeps."
    )


class TermSettings(Section):
    weighting: Literal["class", "catalogue"] = Field(
        "class", description="Which idf: class-based (a latent is the document) or over the catalogue of items."
    )
    terms_per_latent: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="Terms kept a latent, best first.")
    longest_ngram: Annotated[int, Field(ge=1, le=3)] = Field(2, description="Longest run of words that is a term.")
    stop_words: Literal["english", "none"] = Field("english", description="List of words that are no terms.")
    minimum_items: Annotated[int, Field(ge=1)] = Field(
        2, description="Distinct linked items of the latent that a significant term must occur in."
    )
    prior_strength: Annotated[float, Field(gt=0.0)] = Field(
        100.0, description="α₀: pseudo-count of the informative Dirichlet prior behind z_score."
    )
    significance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="q-value under which a term is significant."
    )


class OpenaiSettings(Section):
    base_url: str | None = Field(None, description="Address of an OpenAI-compatible server; OpenAI's where unset.")
    model: str = Field("gpt-4o-mini", description="Model name sent to the server.")
    api_key_variable: str = Field("OPENAI_API_KEY", description="Environment variable that holds the key.")
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = Field(0.6, description="Sampling temperature.")
    concurrency: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Requests under way at once.")
    timeout_seconds: Annotated[float, Field(gt=0.0)] = Field(60.0, description="Time one request may take.")
    retries: Annotated[int, Field(ge=0, le=20)] = Field(4, description="Further tries after a passing failure.")
    max_answer_tokens: PositiveInt = Field(400, description="Tokens an answer may have.")


class InterpretationSettings(Section):
    interpreter: Literal["terms", "openai"] = Field(
        "terms", description="Who names a latent: its own significant terms, or a language model."
    )
    prompt: str = Field("conf/prompts/interpret.md", description="Prompt file of the language model.")
    label_terms: Annotated[int, Field(ge=1, le=10)] = Field(3, description="Terms that make a label of `terms`.")
    top_terms: Annotated[int, Field(ge=1, le=100)] = Field(15, description="Terms shown in a request.")
    top_items: Annotated[int, Field(ge=1, le=100)] = Field(10, description="Items shown in a request.")
    near_miss_items: Annotated[int, Field(ge=0, le=100)] = Field(5, description="Near-miss items shown in a request.")
    openai: OpenaiSettings = Field(default_factory=OpenaiSettings, description="The server of interpreter openai.")


class VerificationSettings(Section):
    cases_per_kind: Annotated[int, Field(ge=1, le=1000)] = Field(
        10, description="n: positive cases a latent, and as many negative ones."
    )
    minimum_level: Annotated[int, Field(ge=1, le=10)] = Field(
        5, description="Activation level (decile, 1 to 10) from which a user is a positive case."
    )
    confidence: Share = Field(0.8, description="Confidence from which a latent may be interpretable.")
    significance: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(0.05, description="q-value that it must undercut.")
    neighbours: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="Nearest other latents whose users are the hard negatives."
    )
    association_users: PositiveInt = Field(
        20_000, description="Verify-half users, drawn by hash, behind the ROC-AUC of each latent."
    )


class CoverageSettings(Section):
    minimum_document_frequency: PositiveInt = Field(5, description="Items that an item feature needs before it counts.")
    confidences: tuple[Share, ...] = Field((0.6, 0.7, 0.8, 0.9, 1.0), description="Confidences that are reported.")
    coherence_cases: Annotated[int, Field(ge=2, le=100)] = Field(10, description="Top cases behind coherence.")


class CheckSettings(Section):
    maximum_fvu: Annotated[float, Field(gt=0.0)] = Field(0.5, description="FVU above which an audit fails.")
    maximum_dead_fraction: Share = Field(0.1, description="Dead latents' share above which an audit warns.")
    minimum_ndcg_kept: Share = Field(0.9, description="NDCG kept by reconstruction under which an audit warns.")
    maximum_reject_share: Share = Field(0.05, description="Rejected rows' share above which an audit fails.")


class Settings(Section):
    namespace: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "ml_100k", description="Application; the warehouse namespace and the suffix of the model names."
    )
    catalog: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        "recsae", description="Iceberg catalog, declared in the Spark properties."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(2026, description="Seed of everything random.")
    device: Device = Field("auto", description="Where torch runs while training: auto takes CUDA when there is one.")
    paths: PathSettings = Field(default_factory=PathSettings, description="Where a run writes.")
    spark: SparkSettings = Field(default_factory=SparkSettings, description="Spark when not under spark-submit.")
    dataset: DatasetSettings = Field(default_factory=DatasetSettings, description="Raw data.")
    recommender: RecommenderSettings = Field(default_factory=RecommenderSettings, description="The model to audit.")
    representations: RepresentationSettings = Field(
        default_factory=RepresentationSettings, description="Extraction of representations."
    )
    recommendations: RecommendationSettings = Field(
        default_factory=RecommendationSettings, description="Items linked to users."
    )
    sae: SaeSettings = Field(default_factory=SaeSettings, description="The sparse autoencoder.")
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings, description="Linking latents to items.")
    terms: TermSettings = Field(default_factory=TermSettings, description="Concept terms.")
    interpretation: InterpretationSettings = Field(
        default_factory=InterpretationSettings, description="Names of concepts."
    )
    verification: VerificationSettings = Field(
        default_factory=VerificationSettings, description="The confidence score."
    )
    coverage: CoverageSettings = Field(default_factory=CoverageSettings, description="Metrics over all latents.")
    checks: CheckSettings = Field(default_factory=CheckSettings, description="Limits that guard publication.")

    def digest(self) -> str:
        """SHA-256 (first 16 hex digits) of the resolved settings, the same for the same values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def load_settings(base: Path | None, conf: Path | None = None, overrides: list[str] | None = None) -> Settings:
    """Resolve settings from `base`, then `conf`, then `overrides` (``a.b=value``, value in YAML).

    Raises
    ------
    InputError : a file is missing or no YAML mapping, a key is unknown (the nearest known one is named), or a
        value has the wrong type or lies out of bounds; all faults are reported together.
    """
    merged: dict[str, Any] = {}
    for path in [base, conf]:
        if path is not None:
            merged = _merge(merged, _read_yaml(path))
    for override in overrides or []:
        merged = _merge(merged, _parse_override(override))
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        faults = "; ".join(_explain(fault) for fault in error.errors())
        raise InputError(f"Settings refused: {faults}", "`recsae config` lists every setting with its bounds") from None


def as_commented_yaml(settings: Settings) -> str:
    """Every setting in YAML, each below its description; conf/base.yaml is this text for the defaults."""
    lines: list[str] = []

    def visit(section: Section, indent: str) -> None:
        for name, field in type(section).model_fields.items():
            value = getattr(section, name)
            lines.append(f"{indent}# {field.description}")
            if isinstance(value, Section):
                lines.append(f"{indent}{name}:")
                visit(value, indent + "  ")
            else:
                plain = section.model_dump(mode="json")[name]
                lines.append(f"{indent}{name}: {json.dumps(plain, ensure_ascii=False)}")

    visit(settings, "")
    return "\n".join(lines) + "\n"


def known_keys() -> list[str]:
    """Dotted names of all settings and sections."""
    keys: list[str] = []

    def visit(section: type[Section], prefix: str) -> None:
        for name, field in section.model_fields.items():
            keys.append(prefix + name)
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                visit(field.annotation, f"{prefix}{name}.")

    visit(Settings, "")
    return keys


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Cannot read the settings file {path}: {error.strerror}", "Give --conf a readable file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}", "Mend the file") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not settings", "Write `key: value` lines")
    return content


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override!r} is not of the form a.b=value", "Write for example --set sae.k=16")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"The value of --set {override!r} is not valid YAML", "Quote it") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _explain(fault: Any) -> str:
    location = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("literal[", "constrained-")))
    if fault["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(location, known_keys(), n=1, cutoff=0.0)
        return f"unknown key {location} (the nearest known one is {nearest[0]})"
    return f"{location or 'settings'}: {fault['msg']}, got {fault['input']!r}" if fault["loc"] else str(fault["msg"])
