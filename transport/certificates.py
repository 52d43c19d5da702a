"""TLS with a certificate that can be replaced while the server runs."""

import logging
import ssl

from tornado.tcpserver import TCPServer

from common.file_watch import FileWatch
from common.periodic import run_periodically

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0
"""Interval in seconds at which the server checks whether the certificate files have changed."""


class Certificate:
    """A certificate and its private key, in PEM files. The constructor raises OSError if the files cannot be used."""

    def __init__(self, certificate: str, key: str, check_interval_s: float = CHECK_INTERVAL_S) -> None:
        self._certificate = certificate
        self._key = key
        self._check_interval_s = check_interval_s
        self._file_watch = FileWatch(certificate, key)
        self._file_watch.mark_read()
        self.context = _context(certificate, key)
        """The TLS context for new connections."""

    async def keep_current(self, server: TCPServer) -> None:
        """Use the certificate for new connections of `server`. Until cancelled, reload it whenever its files change."""

        async def reload() -> None:
            self.reload_if_changed()
            server.ssl_options = self.context

        server.ssl_options = self.context
        await run_periodically(
            reload, self._check_interval_s, log=log, purpose="reload the certificate", wait_first=True
        )

    def reload_if_changed(self) -> None:
        """Reload the certificate if its files have changed since it was loaded, and the change is complete.

        The change counts as complete if the files are the same as at the previous check.
        """
        if not self._file_watch.check():
            return
        try:
            self.context = _context(self._certificate, self._key)
        except OSError as error:
            log.error("cannot use the new certificate; the previous one stays in use: %s", error)
        else:
            log.info("loaded a new certificate from %s", self._certificate)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Without the argument `password`, OpenSSL asks for the password of an encrypted key at the terminal.
    context.load_cert_chain(certificate, key, password="")
    return context
