"""The local Hub answers `huggingface_hub` as the Hub does; what the other tests rest on."""

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


WEIGHTS = bytes(range(256)) * 50


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
@pytest.mark.slow
def test_create_upload_list_resolve_delete(hub, tmp_path, repo_type):
    (tmp_path / "in" / "encoder").mkdir(parents=True)
    (tmp_path / "in" / "README.md").write_text("# A card\n")
    (tmp_path / "in" / "encoder" / "model.safetensors").write_bytes(WEIGHTS)
    api, repo = HfApi(), {"repo_id": "me/thing", "repo_type": repo_type}
    sdk = {"space_sdk": "gradio"} if repo_type == "space" else {}
    assert str(api.create_repo(**repo, **sdk)).startswith(hub.url)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(**repo, **sdk)
    api.create_repo(**repo, **sdk, exist_ok=True)
    first = api.upload_folder(folder_path=tmp_path / "in", **repo).oid
    assert sorted(api.list_repo_files(**repo)) == ["README.md", "encoder/model.safetensors"]
    assert sum(request.startswith("PUT /lfs/") for request in hub.requests) == 1, "only the weights travel by LFS"
    (weights,) = api.get_paths_info(paths="encoder/model.safetensors", **repo)
    assert weights.lfs.size == weights.size == len(WEIGHTS) and weights.lfs.pointer_size < 200
    assert [entry.path for entry in api.list_repo_tree(**repo)] == ["README.md", "encoder"]
    api.create_tag(tag="v1", **repo)
    operations = [CommitOperationAdd("new.txt", b"new"), CommitOperationDelete("encoder/model.safetensors")]
    second = api.create_commit(operations=operations, commit_message="swap", **repo).oid
    assert [ref.name for ref in api.list_repo_refs(**repo).tags] == ["v1"]
    assert [commit.commit_id for commit in api.list_repo_commits(**repo)][:2] == [second, first]
    file = hf_hub_download(filename="encoder/model.safetensors", revision="v1", cache_dir=tmp_path / "a", **repo)
    with open(file, "rb") as loaded:
        assert loaded.read() == WEIGHTS
    folder = snapshot_download(cache_dir=tmp_path / "b", **repo)
    assert folder.endswith(second)
    assert {path.name for path in (tmp_path / "b").rglob("snapshots/*/*")} == {"README.md", "new.txt"}
    api.delete_repo(**repo)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(**repo)


def test_refusals_are_those_of_the_hub(hub, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("me/nothing", "config.json", cache_dir=tmp_path)
    hub.repo("me/thing").commit({"config.json": b"{}"})
    with pytest.raises(EntryNotFoundError):
        hf_hub_download("me/thing", "other.json", cache_dir=tmp_path)
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download("me/thing", "config.json", revision="v9", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="hf_wrong").whoami()
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi(token="hf_read").create_repo("me/other")
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi().create_repo("others/thing")
    hub.refuse = lambda method, path: 401 if "resolve" in path else None
    with pytest.raises((HfHubHTTPError, LocalEntryNotFoundError)):
        hf_hub_download("me/thing", "config.json", cache_dir=tmp_path / "empty")
    assert hub.requests.count("POST /api/repos/create") == 2


def test_a_private_repository_is_hidden_from_strangers(hub):
    HfApi().create_repo("me/secret", private=True)
    assert HfApi().repo_info("me/secret").private
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).repo_info("me/secret")
