"""Exit 0 where the worker of this container says that its flow turns, 1 where it does not or does not answer."""

import os
import sys
from urllib.error import URLError
from urllib.request import Request, urlopen

port = os.environ.get("BREAKWATER_HEALTH__PORT", "9464")
token = os.environ.get("BREAKWATER_HEALTH__TOKEN", "")
headers = {"Authorization": f"Bearer {token}"} if token else {}
try:
    with urlopen(Request(f"http://127.0.0.1:{port}/healthz", headers=headers), timeout=4) as answer:
        sys.stdout.write(answer.read().decode())
except (URLError, OSError) as error:
    sys.exit(f"unhealthy: {error}")
