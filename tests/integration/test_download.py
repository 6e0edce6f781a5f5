"""The real download code against a server on this machine that speaks the hub's protocol."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

FILE = "yolact_base_54_800000.pth"
RESOLVE = f"/dbolya/yolact-base/resolve/main/{FILE}"
CHUNK = 10 * 2**20  # what the hub's client writes at a time
CONTENT = bytes(range(256)) * (24 * 2**20 // 256)


class Hub(ThreadingHTTPServer):
    """One repository. Metadata at the hub's address, bytes at that of a content network."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.files = {RESOLVE: CONTENT}
        self.announced = None
        """What the hub says the content is, where that differs."""
        self.etag = None
        """Instead of the SHA-256."""
        self.cuts = []
        """After how many bytes the next transfers break off."""
        self.stalled = threading.Event()
        self.stall_after = None
        self.log = []


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self):
        self.server.log.append(("HEAD", self.path, None))
        self._resolve()

    def do_GET(self):
        self.server.log.append(("GET", self.path, self.headers.get("Range")))
        if not self.path.startswith("/content"):
            self._resolve()
            return
        content = self.server.files[self.path.removeprefix("/content")]
        start = 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.server.cuts.pop(0) if self.server.cuts else len(content)
        if self.server.stall_after is not None:
            self.wfile.write(content[start : start + self.server.stall_after])
            self.server.stalled.wait(60)
            return
        self.wfile.write(content[start:end])

    def _resolve(self):
        content = self.server.files.get(self.path)
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            announced = self.server.announced or content
            self.send_response(302)
            self.send_header("X-Repo-Commit", "0123456789abcdef" * 2 + "01234567")
            etag = self.server.etag or hashlib.sha256(announced).hexdigest()
            self.send_header("X-Linked-Etag", f'"{etag}"')
            self.send_header("X-Linked-Size", str(len(announced)))
            # Another host name, as with the hub: its client must not take it for the hub's own.
            port = self.server.server_port
            self.send_header("Location", f"http://localhost:{port}/content{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.stalled.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def user(tmp_path, hub):
    """``yolact`` with a cache of its own and this hub."""

    def run(*words, wait=True, **changes):
        environment = os.environ | {
            "HF_HOME": str(tmp_path / "cache"),
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_OFFLINE": "0",
            "CUDA_VISIBLE_DEVICES": "",
            "NO_PROXY": "*",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "yolact", *map(str, words)],
            env=environment | changes,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    return run


def cached_files(tmp_path):
    """Everything in the cache that is not the client's own housekeeping."""
    return [
        p
        for p in (tmp_path / "cache").rglob("*")
        if p.is_file() and p.stat().st_size > 1000 and not p.is_symlink()
    ]


def test_fetched_once_then_from_the_cache(user, hub, tmp_path):
    done = user("models", "download", "yolact-base")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"fetching yolact-base, 25.2 MB, from {hub.endpoint}{RESOLVE}\n"
    name, path = done.stdout.strip().split(": ")
    assert name == "yolact-base"
    assert path.endswith(FILE)
    assert Path(path).read_bytes() == CONTENT
    # Nothing else was asked for: no telemetry.
    assert {requested for _, requested, _ in hub.log} == {RESOLVE, f"/content{RESOLVE}"}

    hub.log.clear()
    for changes in ({}, {"HF_HUB_OFFLINE": "1"}):
        again = user("models", "download", "yolact-base", "--json", **changes)
        assert json.loads(again.stdout) == {"files": {"yolact-base": path}}
        assert again.stderr == ""
    listing = json.loads(user("models", "list", "--json").stdout)["models"]
    assert [model["name"] for model in listing if model["cached"]] == ["yolact-base"]
    assert not hub.log


def test_a_broken_connection_is_taken_up_again(user, hub):
    hub.cuts = [15 * 2**20]
    done = user("models", "download", "yolact-base")
    assert done.returncode == 0, done.stderr
    ranges = [wanted for _, path, wanted in hub.log if path.startswith("/content")]
    assert ranges == [None, f"bytes={CHUNK}-"]


def test_a_killed_transfer_goes_on_at_the_next_call(user, hub, tmp_path):
    hub.stall_after = 15 * 2**20
    process = user("models", "download", "yolact-base", wait=False)
    deadline = time.monotonic() + 60
    while sum(p.stat().st_size for p in cached_files(tmp_path)) < CHUNK:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert [p.suffix for p in cached_files(tmp_path)] == [".incomplete"]
    listing = json.loads(user("models", "list", "--json").stdout)["models"]
    assert not any(model["cached"] for model in listing)

    hub.stall_after = None
    hub.log.clear()
    done = user("models", "download", "yolact-base")
    assert done.returncode == 0, done.stderr
    assert ("GET", f"/content{RESOLVE}", f"bytes={CHUNK}-") in hub.log
    (whole,) = cached_files(tmp_path)
    assert whole.read_bytes() == CONTENT


def assert_one_sentence(done, reason, url):
    assert done.returncode == 3
    assert done.stdout == ""
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(
        "yolact: yolact-base is not on this machine and could not be fetched"
    )
    assert reason in sentence
    assert url in sentence
    assert "Traceback" not in done.stderr
    return Path(sentence.split("put it at ")[1].split(", or give")[0])


def test_wrong_content_is_refused_and_not_kept(user, hub, tmp_path):
    hub.announced = CONTENT[::-1]
    done = user("models", "download", "yolact-base")
    assert_one_sentence(done, "not the published file, by its SHA-256", hub.endpoint + RESOLVE)
    assert not cached_files(tmp_path)
    hub.files[RESOLVE] = hub.announced
    assert user("models", "download", "yolact-base").returncode == 0
    (whole,) = cached_files(tmp_path)
    assert whole.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("announced", [CONTENT + b"more", CONTENT[:-4]])
def test_content_of_another_size_is_refused(user, hub, tmp_path, announced):
    hub.announced = announced
    done = user("models", "download", "yolact-base")
    assert_one_sentence(done, "of size", hub.endpoint + RESOLVE)
    hub.announced = None
    assert user("models", "download", "yolact-base").returncode == 0


def test_a_checksum_cannot_lead_out_of_the_cache(user, hub, tmp_path):
    hub.etag = "../../../../outside"
    done = user("models", "download", "yolact-base")
    assert_one_sentence(done, "no usable checksum", hub.endpoint + RESOLVE)
    assert not list(tmp_path.rglob("outside*"))


def test_no_such_file(user, hub, tmp_path):
    hub.files.clear()
    done = user("models", "download", "yolact-base")
    assert_one_sentence(done, "the hub answers 404", hub.endpoint + RESOLVE)
    assert done.stderr.count("\n") == 1
    assert not cached_files(tmp_path)


@pytest.mark.parametrize("kind", ["closed", "offline"])
def test_without_a_network_one_sentence_says_what_to_do(user, hub, tmp_path, kind):
    changes = {"HF_ENDPOINT": "http://127.0.0.1:9"} if kind == "closed" else {"HF_HUB_OFFLINE": "1"}
    words = ("models", "download", "yolact-base")
    done = user(*words, **changes)
    url = changes.get("HF_ENDPOINT", hub.endpoint) + RESOLVE
    place = assert_one_sentence(done, "HF_HUB_OFFLINE" if kind == "offline" else "(", url)
    assert done.stderr.count("\n") == 1
    assert not hub.log
    # What the sentence says works.
    place.parent.mkdir(parents=True)
    place.write_bytes(b"brought by hand")
    done = user(*words, **changes)
    assert (done.returncode, done.stdout) == (0, f"yolact-base: {place}\n")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("yolact-huge", 2, "no published model is called 'yolact-huge'"),
        ("yolact-im400", 3, "no weights to fetch: its weights were never published"),
    ],
)
def test_names_without_weights(user, hub, name, code, said):
    done = user("models", "download", name)
    assert done.returncode == code
    assert said in done.stderr
    assert not hub.log


def test_list_needs_no_network_and_no_torch(tmp_path):
    probe = (
        "import sys; from yolact.cli.main import main\n"
        "main(['models', 'list'])\n"
        "print({'torch', 'timm', 'cv2'} & set(sys.modules))"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "set()"
    (base,) = (line.split() for line in lines if line.startswith(" yolact-base "))
    assert base == ["yolact-base", "203", "MB", "29.8", "33.5", "MIT", "on", "the", "hub"]
    assert "train it yourself" in next(line for line in lines if "yolact-nano" in line)
    assert "the paper's" in lines[-2]


def test_a_published_name_is_all_it_takes(user, hub, formula, golden, tmp_path):
    file = tmp_path / "x.pth"
    torch.save(formula.checkpoint("yolact_resnet50"), file, _use_new_zipfile_serialization=False)
    url = "/dbolya/yolact-resnet50/resolve/main/yolact_resnet50_54_800000.pth"
    hub.files[url] = file.read_bytes()
    done = user("predict", "yolact-resnet50", golden / "image_480x640.png", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("fetching yolact-resnet50, 12")
    assert json.loads(done.stdout)["results"][0]["objects"]
