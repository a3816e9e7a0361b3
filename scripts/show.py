"""Try trained models in the browser: choose, paste, draw or film an image, see it translated.

    python scripts/show.py --name facades            one run; several names for several
    python scripts/show.py                           all runs in ./checkpoints
    python scripts/show.py --host 0.0.0.0            for other machines, with a token

The page is for this machine alone unless --host says otherwise. Programs may use it too: bytes of
an image to POST /translate, bytes of a PNG back; docs/show.md tells how.
"""

import argparse
import ipaddress
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.stop_signals import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c()  # importing all this takes a while

from models.optimization.precision import PRECISIONS
from showing.limits import Limits
from showing.runs import Runs, find_runs
from util.base.errors import UserError, run_command
from util.base.log import say


def main(argv: Sequence[str] | None = None) -> None:
    """Serve the page until Ctrl-C."""
    args = _arguments(argv)
    limits = Limits(args.upload_mb * 2**20, int(args.megapixels * 1e6), args.queue)
    found = find_runs(args.name, args.checkpoints_dir, args.epoch)
    runs = Runs(found, args.checkpoints_dir, args.epoch, args.device, args.precision)
    token = args.token or ("" if is_loopback(args.host) else secrets.token_urlsafe(16))
    try:
        from showing.server import serve
    except ImportError as error:
        raise UserError(
            f"scripts/show.py needs the extra `show` ({error}): pip install fastapi uvicorn"
        ) from None
    serve(runs, limits, host=args.host, port=args.port, token=token, tell=_tell)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell(address: str, names: Sequence[str]) -> None:
    say(f"{len(names)} run{'s' * (len(names) != 1)}: {', '.join(names)}")
    say(f"Open {address} in a browser. Ctrl-C ends it.")


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--name", nargs="*", default=[], help="runs to choose from; without, all that can be shown")
    add("--checkpoints_dir", default="./checkpoints", help="where runs are saved")
    add("--epoch", default="latest", help="which save: latest, best, a number, iter_IMAGES")
    add("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0: for other machines too")
    add("--port", type=int, default=8090, help="its port; 0: a free one")
    add("--token", default="", help="what requests must carry; made up if --host is no loopback")
    add("--device", help="cpu, cuda or cuda:1; by default the first GPU if there is one")
    add("--precision", default="fp32", choices=PRECISIONS, help="what networks compute in")
    add("--upload_mb", type=int, default=16, help="largest upload, in MiB")
    add("--megapixels", type=float, default=2.0, help="largest image, in millions of pixels")
    add("--queue", type=int, default=16, help="how many images may wait; others are sent away")
    args = parser.parse_args(argv)
    if min(args.upload_mb, args.megapixels, args.queue) <= 0:
        parser.error("--upload_mb, --megapixels and --queue must be above 0.")
    if not 0 <= args.port < 2**16:
        parser.error(f"--port {args.port} is none: give 0 to 65535.")
    return args


if __name__ == "__main__":
    sys.exit(run_command(main))
