"""Publishes a pre-trained or fine-tuned encoder with its card."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import ModelCard, ModelCardData

from ..distributed import hardware
from .manifest import publishable_files
from .transfer import ENCODER, hub_id, push_files


TEMPLATE = Path(__file__).parent / "encoder_card_template.md"
TRAINING_TEXTS = {
    "pretrain": "Domain-adaptive pre-training without labels: a student that gets a part of the patches predicts the "
    "output of an averaged teacher for all patches.",
    "finetune": "Fine-tuned to classify machines and their attributes or pseudo-attributes.",
}


class TrainedEncoder(Protocol):
    """
    The attributes of a `transformers.Trainer` that the card needs, with `config` (a dataclass with the options of the
    stage) and `resumed` (whether training continued from a checkpoint).
    """

    args: Any
    model: Any
    accelerator: Any
    state: Any
    train_dataset: Any
    hub_model_id: str | None
    config: Any
    resumed: bool


def push_encoder(folder: str | Path, trainer: TrainedEncoder, stage: str, encoder: str | Path | None) -> str:
    """
    Publishes an encoder's folder in one commit, with the options `hub_model_id`, `hub_token`, `hub_private_repo` and
    `hub_revision` of `TrainingArguments`: weights, configuration, feature extractor and card. The pickle
    `training_args.bin` is left out.

    Args:
        folder (`str` or `Path`): folder of the encoder and its feature extractor.
        trainer ([`TrainedEncoder`]): the trainer that trained the encoder.
        stage (`"pretrain"` or `"finetune"`): the training stage.
        encoder (`str` or `Path`, *optional*): the encoder that training started from.

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses the request or cannot be reached, or the repository holds something else.
    """
    arguments, repo_id = trainer.args, trainer.hub_model_id
    assert repo_id is not None  # set by transformers where `push_to_hub` is

    def files(full_id: str) -> dict[str, Path | bytes]:
        return publishable_files(folder) | {"README.md": str(encoder_card(trainer, stage, encoder, full_id)).encode()}

    return push_files(
        repo_id,
        files,
        ENCODER,
        commit_message="Upload encoder",
        private=arguments.hub_private_repo,
        revision=arguments.hub_revision,
        token=arguments.hub_token,
    )


def encoder_card(trainer: TrainedEncoder, stage: str, encoder: str | Path | None, name: str) -> ModelCard:
    """
    The card of an encoder.

    Args:
        trainer, stage, encoder: as for [`push_encoder`].
        name (`str`): the repository's full id.

    Returns:
        `huggingface_hub.ModelCard`.
    """
    base_model, model = hub_id(encoder), trainer.accelerator.unwrap_model(trainer.model)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    data = ModelCardData(
        library_name="hf-asd",
        pipeline_tag="feature-extraction" if stage == "pretrain" else "audio-classification",
        tags=["anomaly-detection", "anomalous-sound-detection", "audio"],
        base_model=base_model,
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=name,
        training=TRAINING_TEXTS[stage],
        base_model=base_model,
        recordings=len(trainer.train_dataset),
        labels=sorted(model.config.id2label.values()) if stage == "finetune" else [],
        steps=trainer.state.global_step,
        loss=losses[-1] if losses else None,
        # After an interruption the Trainer knows only the time of the last part.
        seconds=None if trainer.resumed else trainer.state.log_history[-1].get("train_runtime"),
        device=hardware(),
        options={option: value for option, value in asdict(trainer.config).items() if option != "training"},
    )
