"""The mark of tests whose certificates `libs.testing.certificates` makes."""

from __future__ import annotations

import shutil

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl")
