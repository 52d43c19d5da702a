"""The security headers of every HTTP answer: pages, errors, endpoints and Engine.IO."""

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Default Content-Security-Policy, for responses that load no other resources."""
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
"""Headers that are set only with TLS. Without TLS browsers ignore them and print a warning."""


class SecurityHeaders(OutputTransform):
    """Adds the security headers that an answer does not set itself."""

    def __init__(self, request: HTTPServerRequest) -> None:
        super().__init__(request)
        self._is_https = request.protocol == "https"

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add the security headers and remove `Server`. Tornado calls this method for the first chunk of an answer."""
        headers.pop("Server", None)
        headers.setdefault("Content-Security-Policy", POLICY)
        for name, value in (ALWAYS | HTTPS if self._is_https else ALWAYS).items():
            headers.setdefault(name, value)
        return status_code, headers, chunk
