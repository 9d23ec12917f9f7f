"""Collections: a page of the Hub that holds the detectors of a plant."""

from collections.abc import Sequence

from huggingface_hub import HfApi

from ..hub_errors import hub_errors


def add_to_collection(title: str, repo_ids: Sequence[str], *, private: bool = True, token: str | None = None) -> str:
    """
    Puts detectors into a collection of the account that the first of them belongs to.

    Args:
        title (`str`): of the collection; made if there is none of this title.
        repo_ids (`Sequence[str]`): full ids of detectors; those that are in it stay there once.
        private (`bool`, *optional*, defaults to `True`): whether a collection that is made now is visible only to you.
        token (`str`, *optional*): access token of the Hub; defaults to the token of your login.

    Returns:
        `str`: address of the collection.

    Raises:
        HubError: the Hub refuses or cannot be reached.
    """
    api, namespace = HfApi(token=token), repo_ids[0].split("/")[0]
    with hub_errors(f"collection {title}"):
        collection = api.create_collection(title, namespace=namespace, private=private, exists_ok=True)
        for repo_id in repo_ids:
            api.add_collection_item(collection.slug, repo_id, "model", exists_ok=True)
    return collection.url
