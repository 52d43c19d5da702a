"""The security headers of every HTTP answer: pages, errors, endpoints, and Engine.IO's."""

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

POLICY = "default-src 'none'; frame-ancestors 'none'"
"""The default policy, for answers that load nothing else."""
YEAR_S = 31_536_000

ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HTTPS = {
    "Strict-Transport-Security": f"max-age={YEAR_S}",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Only with TLS: without it browsers ignore them, with a warning."""


class SecurityHeaders(OutputTransform):
    """Adds the security headers that an answer does not set itself."""

    def __init__(self, request: HTTPServerRequest) -> None:
        super().__init__(request)
        self._is_https = request.protocol == "https"

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add them; see Tornado."""
        headers.pop("Server", None)
        headers.setdefault("Content-Security-Policy", POLICY)
        for name, value in (ALWAYS | HTTPS if self._is_https else ALWAYS).items():
            headers.setdefault(name, value)
        return status_code, headers, chunk
