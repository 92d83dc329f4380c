"""A client of the API beside `lodge`: over the UNIX socket or HTTPS, with what the command line does not show."""
import http.client
import json
import socket
import ssl

from house import require


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=20):
        super().__init__("lodge", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text

    @property
    def document(self):
        return json.loads(self.text)


class Client:
    """One request each time, so that no answer depends on an earlier connection."""

    def __init__(self, house, token=None, https=False):
        self.house, self.token, self.https = house, token, https

    def connection(self):
        if not self.https:
            return UnixConnection(self.house.folder / "lodged.sock")
        context = ssl.create_default_context(cafile=self.house.folder / "manager/ca.pem")
        return http.client.HTTPSConnection("127.0.0.1", self.house.port, timeout=20, context=context)

    def send(self, method, path, body=None, status=None, **headers):
        """`headers` with _ for -. A body that is not bytes is sent as JSON. Fails unless the answer has the status."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connection()
        try:
            connection.request(method, path, body=body, headers=headers)
            raw = connection.getresponse()
            answer = Answer(raw.status, raw.headers, raw.read())
        finally:
            connection.close()
        require(status is None or answer.status == status,
                f"{method} {path}: status {answer.status}, expected {status}: {answer.text[:400]!r}")
        return answer

    def refused(self, method, path, body, status, code, field=None, **headers):
        """The answer must be a problem with that code that names that field."""
        answer = self.send(method, path, body, status, **headers)
        require(answer.headers["Content-Type"] == "application/problem+json", f"{path}: no problem: {answer.headers['Content-Type']}")
        problem = answer.document
        require((problem["code"], problem.get("field")) == (code, field), f"{method} {path} {body!r:.200}: {problem}, expected {code} {field}")
        return problem

    def items(self, path):
        return self.send("GET", path, status=200).document["items"]

    def finished(self, answer):
        """Waits for the job of a 202."""
        identity = answer.document["id"]
        jobs = self.house.wait_for_jobs()
        return next(job for job in jobs if job["id"] == identity)


def log_in(house, name, password, status=200, https=False):
    """A client with the token of that principal."""
    answer = Client(house, https=https).send("POST", "/v1/system/login", {"name": name, "password": password}, status)
    return Client(house, answer.document["secret"], https) if status == 200 else None
