"""Download the data sets that the authors of pix2pix and CycleGAN published."""

import gzip
import os
import re
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from urllib.parse import urljoin

from util.base.errors import UserError, suggest
from util.base.log import say
from util.display.progress_bar import progress_bar
from util.storage.downloads import check_digest, download, open_url

BASE_URLS = {
    "pix2pix": "https://efrosgans.eecs.berkeley.edu/pix2pix/datasets/",
    "cyclegan": "https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/",
}
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")


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
        """Download, and unpack beside the target, so that a broken attempt leaves no folder."""
        url, file = urljoin(self.url, archive), target.parent / os.path.basename(archive)
        self._say(f"downloading {url}")
        download_with_bar(url, file, shown=self.verbose)
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as temporary:
                unpacked = Path(temporary, "unpacked")
                unpack(file, unpacked)
                digest = check_digest(file, file.name)
                inside = list(unpacked.iterdir())
                single = len(inside) == 1 and inside[0].is_dir()
                os.replace(inside[0] if single else unpacked, target)
        finally:
            file.unlink()
        self._say(f"SHA-256: {digest}")

    def _available(self) -> list[str]:
        with open_url(self.url) as response:
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

    def _say(self, text: str) -> None:
        if self.verbose:
            say(text)


def download_with_bar(url: str, file: Path, *, shown: bool = True) -> None:
    """Download a file, with a progress bar on a terminal if it is `shown`."""
    if not shown:
        download(url, file)
        return
    with progress_bar(file.name, 0, unit="B", unit_scale=True) as bar:

        def show(there: int, total: int | None) -> None:
            bar.total = total
            bar.update(there - bar.n)

        download(url, file, show)


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
