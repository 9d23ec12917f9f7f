"""An encoder that pre-training or fine-tuning made, published with its card."""

from dataclasses import asdict
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData
from transformers import Trainer

from ..distributed import hardware
from .transfer import ENCODER_MARK, hub_id, publishable_files, push_files


TEMPLATE = Path(__file__).parent / "encoder_card_template.md"
STAGES = {
    "pretrain": "domain-adaptive pre-training: a student that sees a part of the patches predicts a slow teacher's "
    "view of all, without any label",
    "finetune": "attribute classification: it learned to tell machines and their (true or pseudo) attributes apart",
}


def push_encoder(folder: str | Path, trainer: Trainer, stage: str, encoder: str | Path | None) -> str:
    """
    Publishes an encoder's folder where `TrainingArguments` ask for it (`push_to_hub`, `hub_model_id`, `hub_token`,
    `hub_private_repo`, `hub_revision`), in one commit: weights, configuration, feature extractor and card. The
    pickle `training_args.bin` is not among them.

    Args:
        folder (`str` or `Path`): the encoder and its feature extractor.
        trainer (`Trainer`): that trained it; its `config` holds the stage's options.
        stage (`"pretrain"` or `"finetune"`): how it was trained.
        encoder (`str` or `Path`, *optional*): what training went on with.

    Returns:
        `str`: the repository's full id.

    Raises:
        HubError: the Hub refuses or cannot be reached, or the repository holds something else.
    """
    arguments = trainer.args

    def files(full_id: str) -> dict[str, Path | bytes]:
        return publishable_files(folder) | {"README.md": str(encoder_card(trainer, stage, encoder, full_id)).encode()}

    return push_files(
        trainer.hub_model_id,
        files,
        mark=ENCODER_MARK,
        commit_message="Upload encoder",
        private=arguments.hub_private_repo,
        revision=arguments.hub_revision,
        token=arguments.hub_token,
    )


def encoder_card(trainer: Trainer, stage: str, encoder: str | Path | None, name: str) -> ModelCard:
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
        **({} if base_model is None else {"base_model": base_model}),
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=name,
        how=STAGES[stage],
        base_model=base_model,
        recordings=len(trainer.train_dataset),
        labels=sorted(model.config.id2label.values()) if stage == "finetune" else [],
        steps=trainer.state.global_step,
        loss=losses[-1] if losses else None,
        # Of a training that was interrupted the Trainer knows the last part only.
        seconds=None if trainer.resumed else trainer.state.log_history[-1].get("train_runtime"),
        device=hardware(),
        options={option: value for option, value in asdict(trainer.config).items() if option != "training"},
    )
