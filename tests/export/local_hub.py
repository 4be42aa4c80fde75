"""A model hub on this machine: as much of its API as huggingface_hub uses to upload a folder."""

import base64
import hashlib
import http.server
import json


class Hub(http.server.ThreadingHTTPServer):
    """What arrived: `repositories` with their settings, and `files` (path to bytes) of commits."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Asked)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.repositories, self.files, self.stored, self.asked = {}, {}, {}, []
        self.broken, self.cut, self.token = False, False, "hf_" + "a" * 34


class Asked(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(200)

    def do_GET(self):
        self.answer(404, {"error": "Repository not found"}, "Repository not found")

    def do_PUT(self):
        self.server.stored[self.path.rpartition("/")[2]] = self.body()
        self.answer(200)

    def do_POST(self):
        hub, body, path = self.server, self.body(), self.path.partition("?")[0]
        hub.asked.append(path)
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer(401, {"error": "Invalid credentials"}, "Invalid credentials")
        if path == "/api/repos/create":
            asked = json.loads(body)
            if asked.get("organization") == "others":
                return self.answer(403, {"error": "No rights"}, "You have no rights here")
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            hub.repositories[name] = asked
            return self.answer(200, {"url": f"{hub.address}/{name}"})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": [{"message": "a word on the card"}]})
        if hub.cut:
            self.close_connection = True
            return self.connection.close()
        if hub.broken:
            return self.answer(507, {"error": "no room"})
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            big = (".safetensors", ".onnx", ".png")
            modes = {f["path"]: "lfs" if f["path"].endswith(big) else "regular" for f in asked}
            found = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False}
                for name, mode in modes.items()
            ]
            return self.answer(200, {"files": found})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                item | {"actions": {"upload": {"href": f"{hub.address}/lfs/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return self.answer(200, {"objects": objects})
        if "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                self.commit(line["key"], line["value"])
            name = "/".join(path.split("/")[3:5])
            done = {"commitUrl": f"{hub.address}/{name}/commit/1", "commitOid": "1" * 40}
            return self.answer(200, done)
        return self.answer(404)

    def commit(self, key, value):
        hub = self.server
        if key == "file":
            hub.files[value["path"]] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            data = hub.stored[value["oid"]]
            assert hashlib.sha256(data).hexdigest() == value["oid"]
            hub.files[value["path"]] = data

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, value=None, message=""):
        data = json.dumps(value if value is not None else {}).encode()
        self.send_response(status)
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
