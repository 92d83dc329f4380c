"""Seeded malformed requests over every route of the schema, straight at the UNIX socket."""
import http.client
import json
import pathlib
import random
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from lodgeschema import load  # noqa: E402  (the path comes first)

# They hold the connection or hand out a file: a random request to them proves nothing here.
NOT_REQUESTED = {"stream", "websocket", "download"}
STRINGS = ["", "x", "web", "-", "..", "a" * 300, "ä", "\u0000", "'; DROP", "%s%n", "00000000-0000-0000-0000-000000000000",
           "52:54:00:00:00:01", "/dev/null", "unix:/nowhere", "2026-01-01T00:00:00Z"]
NUMBERS = [0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**63, -2**63, 1.5, 1e308]
RAW_BODIES = [b"", b"{", b"[", b"null", b"\xff\xfe", b'{"name":"a","name":"b"}', b'"text"', b"[" * 200, b'{"a":' * 90, b"{}x", b"\x00" * 64]


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("lodge", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _value(chance, depth=0):
    choice = chance.randrange(7 if depth < 3 else 4)
    if choice == 0:
        return chance.choice(STRINGS)
    if choice == 1:
        return chance.choice(NUMBERS)
    if choice in (2, 3):
        return chance.choice([None, True, False])
    if choice == 4:
        return [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(STRINGS): _value(chance, depth + 1) for _ in range(chance.randrange(4))}


def _body(chance, type_):
    if chance.random() < 0.2:
        return chance.choice(RAW_BODIES)
    fields = chance.sample(type_.fields, chance.randrange(len(type_.fields) + 1)) if type_.fields else []
    document = {field.name: _value(chance) for field in fields}
    if chance.random() < 0.3:
        document[chance.choice(STRINGS)] = _value(chance)
    text = json.dumps(document).encode()
    if chance.random() < 0.2:
        place = chance.randrange(len(text))
        text = text[:place] + bytes([chance.randrange(256)]) + text[place + 1:]
    return text


def _path(chance, method):
    path = method.path.replace("{id}", chance.choice(["x", "00000000-0000-0000-0000-000000000000", "%2e%2e", "%ff", "a" * 250]))
    if chance.random() < 0.3:
        path += "?" + chance.choice(["limit=-1", "limit=99999999999999999999", "cursor=%00", "filter=((", "sort=nothing", "fields=,,",
                                     "dry_run=perhaps", "=", "a=b&a=b", "filter=name~" + "x" * 2000])
    if chance.random() < 0.05:
        path += chance.choice(["/", "/x/y/z", "//", "/%2f"])
    return path


def _headers(chance):
    headers = {"Content-Type": chance.choice(["application/json", "application/merge-patch+json", "text/plain", ""])}
    if chance.random() < 0.1:
        headers[chance.choice(["If-Match", "Idempotency-Key", "Authorization", "Accept", "Last-Event-ID"])] = chance.choice(
            ['"1"', "Bearer x", "*", "x" * 400, ""])
    return headers


def send(socket_path, count, seed):
    """Sends them; returns what is wrong: a status of 500, an error without a problem document, a lost connection."""
    chance = random.Random(seed)
    schema = load.load(pathlib.Path(__file__).resolve().parents[2] / "schema")
    methods = [method for method in schema.methods if method.kind not in NOT_REQUESTED]
    connection, problems = Connection(socket_path), []
    for number in range(count):
        method = chance.choice(methods)
        verb = method.http if chance.random() < 0.9 else chance.choice(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
        path, body = _path(chance, method), _body(chance, schema.types[method.parameters])
        try:
            connection.request(verb, path, body=None if verb == "GET" else body, headers=_headers(chance))
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            problems.append(f"{number}: {verb} {path[:80]} {body[:80]!r}: {error!r}")
            connection.close()
            connection = Connection(socket_path)
            continue
        if answer.status == 500:
            problems.append(f"{number}: {verb} {path[:80]} {body[:80]!r}: 500 {text[:200]!r}")
        elif answer.status >= 400 and "code" not in _document(text):
            problems.append(f"{number}: {verb} {path[:80]} {body[:80]!r}: {answer.status} without a problem document: {text[:100]!r}")
    connection.close()
    return problems


def _document(text):
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
