"""Serves half a million numbers by HTTP over IPv6, on the port that is given."""

import http.server
import socket
import sys

BODY = b"".join(b"%d\n" % number for number in range(500_000))


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


Server(("::", int(sys.argv[1])), Handler).serve_forever()
