"""An option that is given and not used is an error."""

from dataclasses import fields

import pytest

from hf_asd.detection.config import DetectorConfig
from hf_asd.recipe.config import NOT_FINETUNED
from hf_asd.recipe.loading import load_recipe
from hf_asd.recipe.unused import RULES, check_used


def load(tmp_path, text):
    (tmp_path / "recipe.yaml").write_text(f"factory: {{}}\n{text}")
    return load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "finetune: {loss: adacos, scale: 20}",
            "finetune.scale is given, .* it needs loss arcface or subcenter_arcface",
        ),
        ("finetune: {loss: softmax, scale: 20, margin: 0.1}", "finetune.scale, finetune.margin are given"),
        ("finetune: {num_centers: 4}", "finetune.num_centers is given"),
        ("finetune: {validation_fraction: 0.2}", "it needs early_stopping_patience above 0"),
        ("finetune: {snr_db: [0, 5]}", "finetune.snr_db is given, .* it needs noise_probability above 0"),
        ("finetune: {max_steps: 5, epochs: 3}", "finetune.epochs is given"),
        (
            "finetune: {num_trainable_layers: 0, projection_size: 8, embedding_from: projection, time_mask: 3}",
            "finetune.time_mask is given, .* it needs num_trainable_layers other than 0",
        ),
        ("pretrain: {snr_db: [0, 5]}", "pretrain.snr_db is given"),
        ("pretrain: {encoder: x, input_statistics: bands}", "pretrain.input_statistics is given"),
        ("pretrain: {encoder: x, model: {hidden_size: 8}}", "pretrain.model is for training from scratch"),
        ("pretrain: {lora: {rank: 2}}", "pretrain.lora needs an encoder to start from"),
        ("pretrain: {utterance_weight: 0, utterance_reduction: sum}", "it needs utterance_weight above 0"),
        ("cluster: {seed: 1}", "cluster.seed is given, .* it needs method kmeans or gmm"),
        ("cluster: {num_clusters: 3, max_clusters: 8}", "cluster.max_clusters is given"),
        ("fit: {num_references: 8}", "fit.num_references is given, .* it needs reduction k_means or k_center"),
        ("fit: {density_neighbors: 2}", "it needs normalization ratio, difference, varmin"),
        ("fit: {normalization: ratio}", "fit.normalization is given, .* it needs backend cosine or euclidean"),
        ("fit: {num_neighbors: 2}", "it needs backend cosine, euclidean or standardized_knn"),
        ("fit: {band_fusion: max}", "it needs num_bands above 1"),
        ("fit: {backends: [pca_residual], fusion: max}", "it needs two backends or more"),
        (
            "fit: {preset: fast, backends: [pca_residual], normalization: z}",
            "fit.preset is given, but it would not be used",
        ),
        ("fit: {encoder_weight: 0.5}", "it needs with_statistics: true"),
        ("fit: {layer: 3}", "fit.layer is 3, but it would not be used"),
        ("fit: {pooling: mean}", "fit.pooling is 'mean', .*set finetune.pooling"),
        ("fit: {statistics: mean}", "fit.statistics is 'mean', but it would not be used"),
        ("fit: {clamp_outlier_channels: true}", "fit.clamp_outlier_channels is True, but it would not be used"),
        ("evaluate: {resamples: 0, confidence: 0.9}", "it needs resamples above 0"),
    ],
)
def test_given_and_not_used_is_an_error(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "finetune: {loss: subcenter_arcface, scale: 20, margin: 0.1, num_centers: 2}",
        "finetune: {early_stopping_patience: 2, validation_fraction: 0.2, noise_probability: 0.1, snr_db: [0, 5]}",
        "pretrain: {encoder: x, lora: {rank: 2}}",
        "cluster: {method: gmm, seed: 1, max_clusters: 8}",
        "fit: {preset: fast, num_neighbors: 2, normalization: ratio, density_neighbors: 2}",
        "fit: {backends: [pca_residual]}",
        "fit: {reduction: k_means, num_references: 8, num_bands: 2, band_fusion: max, with_statistics: true}",
        "fit: {with_statistics: true, encoder_weight: 0.25}",
        "evaluate: {confidence: 0.9}",
        "fit: {pooling: none, layer: null, fusion: ~}",
    ],
)
def test_given_and_used_is_accepted(tmp_path, text):
    load(tmp_path, text)


def test_rules_name_options_that_exist():
    for kind, rules in RULES.items():
        names = {field.name for field in fields(kind)}
        assert names.issuperset(option for rule in rules for option in rule.options)
    assert {field.name for field in fields(DetectorConfig)}.issuperset(NOT_FINETUNED)


def test_options_that_a_preset_sets_are_not_given():
    check_used(DetectorConfig(preset="standard"), ("preset",))
