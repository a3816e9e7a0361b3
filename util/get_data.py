"""Download the data sets that the authors of pix2pix and CycleGAN published."""

import gzip
import os
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import Any
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
    """Fetch a published data set by name: `cyclegan` has unpaired sets, `pix2pix` paired ones.

    `base_url` is another place with the same archives, for example a mirror.
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
        """Download and unpack a data set, and return its folder, which is made below `save_path`.

        `dataset` is its file name, for example `facades.tar.gz`; without one, it is asked for.

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
        else:
            self._fetch(archive, target)
            self._say(f"Data set saved at: {target}")
        return str(target)

    def _fetch(self, archive: str, target: Path) -> None:
        """Download and unpack beside the target, so that a broken attempt leaves nothing."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as temporary:
            file = Path(temporary, os.path.basename(archive))
            self._say(f"downloading {urljoin(self.url, archive)}")
            with self._open(archive) as response, file.open("wb") as out:
                try:
                    shutil.copyfileobj(response, out)
                except (OSError, HTTPException) as error:
                    text = f"Downloading {archive} broke off ({error}). Try again."
                    raise UserError(text) from error
            unpacked = Path(temporary, "unpacked")
            unpack(file, unpacked)
            inside = list(unpacked.iterdir())
            single = len(inside) == 1 and inside[0].is_dir()
            os.replace(inside[0] if single else unpacked, target)

    def _available(self) -> list[str]:
        with self._open("") as response:
            page = response.read().decode("utf-8", errors="replace")
        links = set(re.findall(r"""<a\b[^>]*\bhref=["']?([^"'\s>]+)""", page, re.IGNORECASE))
        return sorted(link for link in links if link.endswith(ARCHIVES))

    def _ask(self) -> str:
        available = self._available()
        for number, name in enumerate(available):
            say(f"{number}: {name}")
        answer = input(f"Which data set? Give a number from 0 to {len(available) - 1}: ")
        if answer not in map(str, range(len(available))):
            raise UserError(f"{answer!r} is no number from 0 to {len(available) - 1}.")
        return available[int(answer)]

    def _open(self, name: str) -> Any:
        url = urljoin(self.url, name)
        try:
            return urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            text = f"{url} answers {error.code} {error.reason}. Is the name right?"
            raise UserError(text) from error
        except OSError as error:
            raise UserError(f"{url} cannot be reached ({error}). Are you online?") from error

    def _say(self, text: str) -> None:
        if self.verbose:
            say(text)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar file; nothing in it can be written outside `folder`.

    Raises:
        UserError: the archive is broken, or holds a path that leads outside.
    """

    def harmless(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        # Links that lead upwards, even if not outside: Python's own filter computes where they end
        # up, and before 3.11.13 can be made to do it wrongly, by names of more than 4096 bytes.
        name, target = member.name, member.linkname
        if member.issym() and (os.path.isabs(target) or ".." in target.split("/")):
            raise UserError(f"{archive.name} holds the link {name!r}, which may lead outside.")
        check_name(name)
        return tarfile.data_filter(member, path)

    def check_name(name: str) -> None:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{archive.name} holds {name!r}, which leads outside.")

    folder.mkdir(parents=True, exist_ok=True)
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                for name in zipped.namelist():
                    check_name(name)
                zipped.extractall(folder)
        else:
            with archive.open("rb") as file:
                opener = gzip.open if file.read(2) == b"\x1f\x8b" else open
            with opener(archive, "rb") as stream, tarfile.open(fileobj=stream) as tar:
                tar.extractall(folder, filter=harmless)
                while stream.read(2**20):  # to the end: the check sum is there
                    pass
    except (
        *(zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError),
        RuntimeError,  # a zip file with a password, or a compression that this Python cannot read
    ) as error:
        raise UserError(f"{archive.name} cannot be unpacked: {error}") from error
