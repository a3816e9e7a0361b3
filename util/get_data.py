"""Download the data sets that the authors of pix2pix and CycleGAN published."""

import gzip
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

from util.base.errors import UserError, suggest
from util.base.log import say

BASE_URLS = {
    "pix2pix": "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets/",
    "cyclegan": "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/",
}
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
TIMEOUT_SECONDS = 30


class GetData:
    """Fetch a published data set by name.

    Args:
        technique: `cyclegan` (unpaired sets) or `pix2pix` (paired sets).
        verbose: say what is going on.
        base_url: another place with the same archives, for example a mirror.

    Raises:
        UserError: another technique.
    """

    def __init__(
        self, technique: str = "cyclegan", verbose: bool = True, *, base_url: str | None = None
    ) -> None:
        name = technique.lower()
        if name not in BASE_URLS:
            raise UserError(f"technique {technique!r} is not known. {suggest(name, BASE_URLS)}")
        self.verbose = verbose
        self.url = (base_url or BASE_URLS[name]).rstrip("/") + "/"

    def get(self, save_path: str | Path, dataset: str | None = None) -> str:
        """Download and unpack a data set, and return its folder.

        Args:
            save_path: where the data set's folder is made.
            dataset: its file name, for example `facades.tar.gz`; asked for when not given.

        Raises:
            UserError: no connection, no such data set, or a broken archive.
        """
        archive = dataset or self._ask()
        if not archive.endswith(ARCHIVES):
            available = self._available()
            matching = [name for name in available if name.split(".")[0] == archive]
            if not matching:
                raise UserError(f"No data set {archive!r}. {suggest(archive, available)}")
            archive = matching[0]
        target = Path(save_path, os.path.basename(archive).split(".")[0])
        if target.is_dir():
            self._say(f"{target} exists already; delete it to download it again.")
            return str(target)
        self._fetch(archive, Path(save_path), target)
        self._say(f"Data set saved at: {target}")
        return str(target)

    def _fetch(self, archive: str, folder: Path, target: Path) -> None:
        """Download and unpack beside the target, so that a broken attempt leaves nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
            file = Path(temporary, os.path.basename(archive))
            self._say(f"downloading {urljoin(self.url, archive)}")
            with self._open(archive) as response, file.open("wb") as out:
                self._copy(response, out, archive)
            unpacked = Path(temporary, "unpacked")
            unpack(file, unpacked)
            inside = list(unpacked.iterdir())
            single = len(inside) == 1 and inside[0].is_dir()
            os.replace(inside[0] if single else unpacked, target)

    def _copy(self, response: Any, out: IO[bytes], archive: str) -> None:
        try:
            shutil.copyfileobj(response, out)
        except (OSError, HTTPException) as error:
            raise UserError(f"Downloading {archive} broke off ({error}). Try again.") from error

    def _available(self) -> list[str]:
        with self._open("") as response:
            page = response.read().decode("utf-8", errors="replace")
        links = _Links()
        links.feed(page)
        return sorted({link for link in links.found if link.endswith(ARCHIVES)})

    def _ask(self) -> str:
        available = self._available()
        for number, name in enumerate(available):
            say(f"{number}: {name}")
        answer = input(f"Which data set? Give a number from 0 to {len(available) - 1}: ")
        if not (answer.isascii() and answer.isdigit()) or int(answer) >= len(available):
            raise UserError(f"{answer!r} is no number from 0 to {len(available) - 1}.")
        return available[int(answer)]

    def _open(self, name: str) -> Any:
        url = urljoin(self.url, name)
        try:
            return urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            raise UserError(
                f"{url} answers {error.code} {error.reason}. Is the name right?"
            ) from error
        except (urllib.error.URLError, OSError) as error:
            raise UserError(f"{url} cannot be reached ({error}). Are you online?") from error

    def _say(self, text: str) -> None:
        if self.verbose:
            say(text)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar file; nothing in it can be written outside `folder`.

    Raises:
        UserError: the archive is broken, or holds a path that leads outside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                _check_names(zipped.namelist(), archive, folder)
                zipped.extractall(folder)
        else:
            with _decompressed(archive) as stream, tarfile.open(fileobj=stream) as tar:
                _check_names(tar.getnames(), archive, folder)
                _check_links(tar, archive)
                tar.extractall(folder, filter="data")
    except _ARCHIVE_ERRORS as error:
        raise UserError(f"{archive.name} cannot be unpacked: {error}") from error


_ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,  # a compression that this Python cannot read
    RuntimeError,  # a zip file with a password
)


def _check_names(names: list[str], archive: Path, folder: Path) -> None:
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{archive.name} holds {name!r}, which leads outside.")


def _check_links(tar: tarfile.TarFile, archive: Path) -> None:
    """Refuse links that lead upwards, even if not outside.

    Python's own filter computes where links end up, and versions before 3.11.13 can be made to
    compute it wrongly, by names of more than 4096 bytes.
    """
    for member in tar:
        if member.issym() and (
            os.path.isabs(member.linkname) or ".." in member.linkname.split("/")
        ):
            raise UserError(
                f"{archive.name} holds the link {member.name!r}, which may lead outside."
            )


@contextmanager
def _decompressed(archive: Path) -> Iterator[IO[bytes]]:
    """Open a tar file; a compressed one is read to its end first, where its check sum is."""
    with archive.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            yield file
            return
    with tempfile.TemporaryFile(dir=archive.parent) as plain:
        with gzip.open(archive) as compressed:
            shutil.copyfileobj(compressed, plain)
        plain.seek(0)
        yield plain


class _Links(HTMLParser):
    """Collect where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link."""
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]
