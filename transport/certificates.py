"""TLS with a certificate that may be replaced while connections are open."""

import asyncio
import logging
import ssl

from tornado.tcpserver import TCPServer

from common.file_watch import FileWatch

log = logging.getLogger("transport")

LOOK_S = 1.0
"""Between two looks at the files."""


class Certificate:
    """A certificate and its key, in files of PEM; raises OSError where they cannot be used."""

    def __init__(self, certificate: str, key: str, look_s: float = LOOK_S) -> None:
        self._certificate = certificate
        self._key = key
        self._look_s = look_s
        self._files = FileWatch(certificate, key)
        self._files.were_read()
        self.context = _context(certificate, key)
        """What new connections are shown."""

    async def follow(self, server: TCPServer) -> None:
        """Show new connections of `server` what the files hold, also once they have changed, until cancelled."""
        while True:
            server.ssl_options = self.context
            await asyncio.sleep(self._look_s)
            self.look()

    def look(self) -> None:
        """Take what the files hold, if they have changed and do so no more."""
        if not self._files.look():
            return
        try:
            self.context = _context(self._certificate, self._key)
        except OSError as error:
            log.error("the new certificate cannot be used, the one before stays: %s", error)
        else:
            log.info("new connections get the certificate that %s holds now", self._certificate)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Without a password given, OpenSSL would ask for one at the terminal.
    context.load_cert_chain(certificate, key, password="")
    return context
