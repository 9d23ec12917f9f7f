"""
A small Hub for tests: repositories of models, datasets and Spaces in memory, behind the endpoints that
`huggingface_hub`, `transformers`, `datasets` and `evaluate` ask. Large files travel as they do on the Hub, by LFS.
"""

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


KINDS = ("models", "datasets", "spaces")
LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".pt", ".wav", ".flac")
WRITE_TOKEN, READ_TOKEN = "hf_write", "hf_read"
LICENSES = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-nc-sa-4.0", "other")  # a few of those that the Hub knows
DATE = "2026-01-01T00:00:00.000Z"
NOT_FOUND = {"repo": "RepoNotFound", "revision": "RevisionNotFound", "entry": "EntryNotFound"}


class Refused(Exception):
    """An answer that is an error: status, what the Hub calls it, and a message."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status, self.code = status, code


@dataclass
class Repo:
    """A repository: its commits, each a whole listing path -> bytes, and what branches and tags point at."""

    kind: str
    name: str
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)  # sha256 of what came by LFS

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Makes a commit of these files and nothing else; also what a test uses to put or damage a file."""
        words = [self.kind, self.name, str(len(self.commits)), *sorted(files)]
        oid = hashlib.sha1("\n".join(words).encode()).hexdigest()
        self.commits[oid] = dict(files)
        self.branches[branch] = oid
        return oid

    def oid(self, revision: str) -> str:
        for known in (self.branches, self.tags):
            if revision in known:
                return known[revision]
        found = [oid for oid in self.commits if len(revision) >= 7 and oid.startswith(revision)]
        if not found:
            raise Refused(404, f"Invalid rev id: {revision}", NOT_FOUND["revision"])
        return found[0]

    @property
    def files(self) -> dict[str, bytes]:
        """What lies on the main branch."""
        return self.commits[self.branches["main"]]


class HubServer:
    """
    Serves until [`~HubServer.close`]. `hf_write` is the token of the user `me` (organization `org`), `hf_read` reads
    only, any other token is wrong.

    `refuse`, where a test sets it, is asked before every request and answers with a status to fail with, or `None`.
    `requests` lists every request as `"METHOD /path"`.
    """

    def __init__(self):
        self.reset()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                hub._handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def reset(self):
        """Forgets everything."""
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.collections: dict[str, dict] = {}  # by slug
        self.requests: list[str] = []
        self.refuse: Callable[[str, str], int | None] = lambda method, path: None

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: str | os.PathLike, token: str | None = WRITE_TOKEN) -> dict[str, str]:
        """Environment variables of a process that shall take this server for the Hub; `home` is its cache."""
        unset = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE"}
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        environment |= {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "no_proxy": "*"}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return environment | ({} if token is None else {"HF_TOKEN": token})

    def repo(self, name: str, kind: str = "models") -> Repo:
        """The repository `name`; made, empty, where it is not there."""
        if (kind, name) not in self.repos:
            self.repos[kind, name] = Repo(kind, name)
            self.repos[kind, name].commit({})
        return self.repos[kind, name]

    def _handle(self, handler: BaseHTTPRequestHandler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.headers.get("Transfer-Encoding") == "chunked":
            while size := int(handler.rfile.readline(), 16):
                body += handler.rfile.read(size)
                handler.rfile.readline()
            handler.rfile.readline()
        address = urlsplit(handler.path)
        path, query = unquote(address.path), parse_qs(address.query)
        self.requests.append(f"{handler.command} {path}")
        status, headers = 200, {}
        try:
            if refused := self.refuse(handler.command, path):
                raise Refused(refused, "refused by the test")
            content, status, headers = self._answer(handler, path.strip("/").split("/"), query, body)
        except Refused as refusal:
            content, status = {"error": str(refusal)}, refusal.status
            headers = {"X-Error-Message": str(refusal), **({"X-Error-Code": refusal.code} if refusal.code else {})}
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in {"Content-Length": len(data), "Content-Type": "application/json", **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)

    def _answer(self, handler, words: list[str], query: dict, body: bytes) -> tuple[object, int, dict]:
        method, token = handler.command, (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        if words[0] == "lfs":  # the storage that LFS objects are sent to: its addresses are signed, without a token
            if hashlib.sha256(body).hexdigest() != words[1]:
                raise Refused(400, "the object's hash is another")
            self.objects[words[1]] = body
            return {}, 200, {}
        if token not in ("", WRITE_TOKEN, READ_TOKEN):
            raise Refused(401, "Invalid credentials in Authorization header")
        if words == ["api", "whoami-v2"]:
            if not token:
                raise Refused(401, "Invalid username or password.")
            access = {"displayName": "test", "role": "write" if token == WRITE_TOKEN else "read"}
            auth = {"type": "access_token", "accessToken": access}
            return {"type": "user", "id": "1", "name": "me", "orgs": [{"name": "org"}], "auth": auth}, 200, {}
        if words == ["api", "validate-yaml"]:
            _, header = (*json.loads(body)["content"].split("---\n"), "{}")[:2]
            known = yaml.safe_load(header).get("license") in (None, *LICENSES)
            errors = [] if known else [{"message": f'"license" must be one of [{", ".join(LICENSES)}]'}]
            return {"errors": errors, "warnings": []}, 200 if known else 400, {}
        if words[:2] == ["api", "repos"]:
            return self._repos(method, words[2], token, json.loads(body))
        if words[:2] == ["api", "collections"]:
            return self._collections("/".join(words[2:]), method, token, json.loads(body or b"{}"))
        if words[0] == "api":
            repo, rest = self._find(words[1], "/".join(words[2:4]), token), words[4:]
            return self._api(method, repo, rest, query, body, token)
        kind = words.pop(0) if words[0] in KINDS else "models"
        repo = self._find(kind, "/".join(words[:2]).removesuffix(".git"), token)
        if words[2:] == ["info", "lfs", "objects", "batch"]:
            self._may_write(repo.name, token)
            return self._batch(repo, json.loads(body)), 200, {}
        if words[2] == "resolve":
            return self._resolve(repo, words[3], "/".join(words[4:]), handler.headers.get("Range"))
        raise Refused(404, f"this server does not know {handler.path}")

    def _find(self, kind: str, name: str, token: str) -> Repo:
        repo = self.repos.get((kind, name))
        if repo is None or (repo.private and not token):
            # The Hub does not tell strangers which of the two it is.
            status = 404 if token else 401
            raise Refused(status, "Repository not found", NOT_FOUND["repo"])
        return repo

    def _may_write(self, name: str, token: str):
        if not token:
            raise Refused(401, "Invalid username or password.")
        if token != WRITE_TOKEN or name.split("/")[0] not in ("me", "org"):
            raise Refused(403, f"Forbidden: you don't have the rights to write to {name}")

    def _repos(self, method: str, action: str, token: str, asked: dict) -> tuple[object, int, dict]:
        name, kind = f"{asked.get('organization') or 'me'}/{asked['name']}", f"{asked.get('type') or 'model'}s"
        self._may_write(name, token)
        if action == "delete":
            self._find(kind, name, token)
            del self.repos[kind, name]
            return {}, 200, {}
        address = f"{self.url}/{'' if kind == 'models' else kind + '/'}{name}"
        if (kind, name) in self.repos:
            return {"error": "You already created this repo", "url": address}, 409, {}
        repo = self.repo(name, kind)
        repo.private = bool(asked.get("private")) or asked.get("visibility") == "private"
        return {"url": address, "name": name, "id": "1"}, 200, {}

    def _collections(self, place: str, method: str, token: str, asked: dict) -> tuple[object, int, dict]:
        """Makes a collection, adds an item, or answers with what a collection holds."""
        if place == "":
            self._may_write(f"{asked['namespace']}/", token)
            slug = f"{asked['namespace']}/{asked['title'].lower().replace(' ', '-')}-0123456789abcdef"
            if slug in self.collections:
                return {"error": "exists", "slug": slug}, 409, {}
            facts = {"slug": slug, "title": asked["title"], "owner": {"name": asked["namespace"]}, "position": 0}
            facts |= {"items": [], "lastUpdated": DATE, "private": asked["private"], "theme": "blue", "upvotes": 0}
            self.collections[slug] = facts
        elif place.endswith("/items"):
            collection, item = self.collections[place.removesuffix("/items")], asked["item"]
            self._may_write(collection["slug"], token)
            if item["id"] in [known["id"] for known in collection["items"]]:
                return {"error": "exists"}, 409, {}
            position = len(collection["items"])
            collection["items"].append({**item, "_id": str(position), "position": position})
        slug = place.removesuffix("/items") or slug
        return self.collections[slug], 200, {}

    def _api(self, method: str, repo: Repo, rest: list[str], query: dict, body: bytes, token: str):
        action, *more = rest or ["revision", "main"]
        if action == "preupload":
            self._may_write(repo.name, token)
            return {"files": [self._mode(repo, file) for file in json.loads(body)["files"]]}, 200, {}
        if action == "commit":
            self._may_write(repo.name, token)
            return self._commit(repo, more[0], body), 200, {}
        if action in ("tag", "branch"):
            self._may_write(repo.name, token)
            if action == "tag":
                repo.tags[json.loads(body)["tag"]] = repo.oid(more[0])
            else:
                start = json.loads(body or b"{}").get("startingPoint") or "main"
                repo.branches["/".join(more)] = repo.oid(start)
            return {}, 200, {}
        if action == "refs":
            known = {"branches": repo.branches, "tags": repo.tags}
            prefix = {"branches": "refs/heads/", "tags": "refs/tags/"}
            return (
                {
                    group: [
                        {"name": name, "ref": prefix[group] + name, "targetCommit": oid} for name, oid in refs.items()
                    ]
                    for group, refs in known.items()
                }
                | {"converts": []},
                200,
                {},
            )
        if action == "commits":
            commits = [{"id": oid, "authors": [], "date": DATE, "title": "", "message": ""} for oid in repo.commits]
            return commits[::-1], 200, {}
        oid = repo.oid(more[0])
        files = repo.commits[oid]
        entries = [self._entry(repo, path, data) for path, data in sorted(files.items())]
        if action == "revision":
            siblings = [{"rfilename": entry["path"], "size": entry["size"]} for entry in entries]
            facts = {"id": repo.name, "sha": oid, "private": repo.private, "siblings": siblings, "tags": []}
            facts |= {"lastModified": DATE, "createdAt": DATE, "downloads": 0, "likes": 0, "gated": False}
            return facts | {"author": repo.name.split("/")[0], "disabled": False}, 200, {}
        folders = {path[:place] for path in files for place, letter in enumerate(path) if letter == "/"}
        entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        if action == "paths-info":
            text = body.decode()
            asked = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text)["paths"]
            return [entry for entry in entries if entry["path"] in asked], 200, {}
        if action == "tree":
            below = "/".join(more[1:])
            if below and below not in folders:
                raise Refused(404, f"{below} does not exist on {more[0]}", NOT_FOUND["entry"])
            inside = [e for e in entries if not below or e["path"].startswith(below + "/")]
            if query.get("recursive", ["false"])[0].lower() != "true":
                inside = [e for e in inside if "/" not in e["path"].removeprefix(below).strip("/")]
            return inside, 200, {}
        raise Refused(404, f"this server does not know {action}")

    def _mode(self, repo: Repo, file: dict) -> dict:
        is_large = file["path"].endswith(LFS_SUFFIXES)
        known = repo.files.get(file["path"])
        oid = {} if known is None else {"oid": self._entry(repo, file["path"], known)["oid"]}
        return {"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False} | oid

    def _batch(self, repo: Repo, asked: dict) -> dict:
        objects = []
        for one in asked["objects"]:
            upload = {"upload": {"href": f"{self.url}/lfs/{one['oid']}"}}
            # Without actions: the object is known, nothing is sent again.
            objects.append(one if one["oid"] in self.objects else {**one, "actions": upload})
        return {"transfer": "basic", "objects": objects}

    def _commit(self, repo: Repo, branch: str, body: bytes) -> dict:
        files = dict(repo.commits[repo.oid(branch)])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    raise Refused(400, f"{value['path']}: its LFS object was never sent")
                files[value["path"]] = self.objects[value["oid"]]
                repo.large.add(value["oid"])
            elif line["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif line["key"] == "deletedFolder":
                files = {path: data for path, data in files.items() if not path.startswith(value["path"])}
        oid = repo.commit(files, branch)
        return {"commitUrl": f"{self.url}/{repo.name}/commit/{oid}", "commitOid": oid, "success": True}

    def _entry(self, repo: Repo, path: str, data: bytes) -> dict:
        entry = {"type": "file", "path": path, "size": len(data)}
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in repo.large:
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
            entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": len(pointer)}
            data = pointer
        return entry | {"oid": hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()}

    def _resolve(self, repo: Repo, revision: str, path: str, asked: str | None) -> tuple[bytes, int, dict]:
        oid = repo.oid(revision)
        data = repo.commits[oid].get(path)
        if data is None:
            raise Refused(404, "Entry not found", NOT_FOUND["entry"])
        entry = self._entry(repo, path, data)
        headers = {"X-Repo-Commit": oid, "ETag": f'"{entry["oid"]}"', "Accept-Ranges": "bytes"}
        if "lfs" in entry:
            headers |= {"X-Linked-Size": entry["size"], "X-Linked-Etag": f'"{entry["lfs"]["oid"]}"'}
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            end = min(int(last or len(data) - 1), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{end}/{len(data)}"
            return data[int(first) : end + 1], 206, headers
        return data, 200, headers
