"""The command ``dither worker``: a device for a run that is elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from ..data import DATA_VARIABLE
from .values import DEVICE

__all__ = ["worker"]


@click.command(
    epilog="""\b
Examples:
  dither worker --device golden --cluster tcp://127.0.0.1:8786
  dither worker --device golden --cluster tls://10.0.0.1:8786 --tls certificates --part 2 --own mine.npz
  dither worker --device /dev/ttyUSB0 --cluster tls://10.0.0.1:8786 --tls certificates
""",
)
@click.option("--device", type=DEVICE, required=True, help="Machine or serial port that computes.")
@click.option("--cluster", required=True, metavar="ADDRESS", help="Where the run listens: its --cluster.")
@click.option(
    "--tls",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Certificates: ca.pem, cert.pem, key.pem.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help=f"Folder of the task's files on this computer.  [default: ${DATA_VARIABLE}, or the user's cache]",
)
@click.option(
    "--own",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Samples that only this worker has, and that stay here, for a run with --data-of worker:N.",
)
@click.option(
    "--part", type=click.IntRange(1), metavar="K", help="Which of that run's N parts they are, from 1; with --own."
)
def worker(device: str, cluster: str, tls: Path | None, data: Path | None, own: Path | None, part: int | None) -> None:
    """Offer a device to a run whose steps many devices share (dither train TASK --cluster ADDRESS).

    It may come late and go at any time: what it does not deliver, others compute, and not a bit
    changes. It waits for the run, and ends with it.
    """
    from ..cluster.member import OWN_DATA, OWN_PART
    from ..cluster.office import serve

    if (own is None) != (part is None):
        raise click.UsageError("--own FILE and --part K belong together: the samples, and which part of the run's")
    environment = {} if own is None else {OWN_DATA: str(own.resolve()), OWN_PART: str(part)}

    console = Console(soft_wrap=True)
    if data is not None:
        os.environ[DATA_VARIABLE] = str(data)
    serve(device, cluster, tls, lambda text: console.print(escape(text), highlight=False), environment)
