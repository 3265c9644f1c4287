"""Random kills: `python -m tests.faults.storm --kills N --seed S [--s3] [--no-ray] [--ray-kills M]`.

Builds with the real miniature and kills the driver before a random change of the disk or, with Ray, a random process
among the driver and its descendants at a random point of its progress, until N kills have happened and the build is
finished. Every build is then damaged and repaired, collected and reported, a source relit and an adapter trained, all
under further kills. What comes out is compared with what undisturbed commands make. With ``--s3`` the output of builds
lies in a bucket of moto's server. Draws depend on the seed and the number of the
kill, so the same command reproduces a failure.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import torch

from dentgen.models.bundle import find_bundle
from dentgen.pipeline.run import build
from dentgen.relight.shards import Relighting, write_relit
from dentgen.seeding import numpy_generator
from dentgen.shards.ledger import committed_units
from dentgen.shards.reader import tar_samples
from dentgen.spec.build import BuildSpec
from dentgen.training.run import run_training
from tests.conftest import JAWS, moto_bucket, write_tar
from tests.faults.drivers import Rig
from tests.faults.kills import dies_around, dies_at
from tests.faults.matrix_build import matrix_spec
from tests.faults.oracle import Verdict, judge
from tests.faults.ray_drivers import Driver, package, title_of
from tests.faults.storm_commands import disturbed_commands, disturbed_relight, disturbed_training
from tests.training.runs import train_spec

#: Changes of the disk in a whole build; a kill that is drawn too late leaves the build finished.
CHANGES = 99
#: Units that a repair may generate again, several times if it is killed.
_REPAIRED = 12
#: Ray's own processes: when they die, Ray ends the driver, which then prints no error of dentgen's.
INFRASTRUCTURE = (
    "gcs_server",
    "raylet",
    "DashboardAgent",
    "RuntimeEnvAgent",
    "ray/dashboard",
    "log_monitor",
    "ray/_private",
    "runtime_env",
)


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - a command


class Storm:
    """Builds and kills until the number of kills is reached."""

    def __init__(self, folder: Path, seed: int, kills: int, ray_kills: int, bucket: str = "") -> None:
        """Build, relight and train without any fault."""
        self._folder, self._seed, self._wanted, self._ray_kills = folder, seed, kills, ray_kills
        self._bucket = bucket
        self._done = self._builds = 0
        torch.set_num_threads(1)
        records = [item for path in sorted(JAWS.glob("*.tar")) for item in tar_samples(path.read_bytes())][:6]
        for name, chosen in (("a.tar", records[:3]), ("b.tar", records[3:])):
            write_tar(folder / "conditions" / name, dict(chosen))
        self._whole = folder / "whole"
        build(self._spec(self._whole), use_ray=False)
        write_relit(str(folder / "conditions"), str(folder / "whole-relit"), Relighting(2, 0))
        for name in ("whole", "cut"):
            shutil.copytree(find_bundle("miniature"), folder / f"{name}-training" / "bundle")
        run_training(self._training("whole"))

    def _training(self, name: str) -> Any:
        values = {"steps": 3, "batch": 1, "name": "own", "checkpoint_seconds": 0.0, "conditions": {"size": 128}}
        return train_spec(str(self._folder / "conditions"), self._folder / f"{name}-training", "adapter", **values)

    def _spec(self, out: Path | str) -> BuildSpec:
        return matrix_spec(self._folder / "conditions", out)

    def run(self) -> list[Verdict]:
        """Run; returns a verdict for every build."""
        verdicts = []
        rig = Rig(self._spec(self._folder / "none"), self._folder, self._whole)
        self._other_commands(rig)
        while self._done < self._wanted:
            self._builds += 1
            folder = self._folder / f"build-{self._builds}"
            folder.mkdir()
            out = f"{self._bucket}/build-{self._builds}" if self._bucket else folder / "out"
            rig = Rig(self._spec(out), folder, self._whole)
            package(rig)
            self._one_build(rig)
            judge(rig)
            disturbed_commands(rig, self._seed, self._builds, self._count)
            verdicts.append(judge(rig, hidden=_REPAIRED))
            say(f"build {self._builds}: {len(rig.runs)} runs, {verdicts[-1]}")
        return verdicts

    def _other_commands(self, rig: Rig) -> None:
        whole, cut = self._folder / "whole-training", self._folder / "cut-training"
        spec = self._folder / "train.yaml"
        spec.write_text(self._training("cut").model_dump_json())
        conditions, relit = self._folder / "conditions", self._folder / "whole-relit"
        disturbed_relight(rig, conditions, relit, self._seed, self._count)
        disturbed_training(rig, spec, cut / "adapter", whole / "adapter", self._seed, self._count)

    def _one_build(self, rig: Rig) -> None:
        """Disturb one build until it is finished or no kills are left."""
        while not rig.runs or rig.runs[-1].code:
            if self._done >= self._wanted:
                rig.generate()
                assert rig.runs[-1].code == 0, rig.runs[-1].text[-3000:]
            elif self._done < self._ray_kills:
                self._ray_run(rig)
            else:
                self._run(rig)

    def _run(self, rig: Rig) -> None:
        draw = numpy_generator("storm", self._seed, self._done)
        left = min(30, max(4, CHANGES - 9 * len(committed_units(rig.out))))  # two or three units, or into the seal
        number = int(draw.integers(1, left))
        ended = rig.generate(dies_around(number) if self._bucket else dies_at(number))
        assert ended.code in {0, -9}, ended.text[-3000:]
        if ended.code:
            self._count(f"the driver before change {number} of the disk, {len(committed_units(rig.out))} units done")

    def _ray_run(self, rig: Rig) -> None:
        draw = numpy_generator("storm", self._seed, self._done)
        before = rig.attempts().total() + len(committed_units(rig.out))
        point = before + int(draw.integers(0, 8))
        driver = Driver(rig, RAY_gcs_rpc_server_reconnect_timeout_s="5")
        driver.until(lambda: rig.attempts().total() + len(committed_units(rig.out)) >= max(point, before + 1))
        title = ""
        if driver.process.poll() is None:
            family = sorted(driver.family(), key=lambda process: process.pid)
            chosen = int(draw.integers(0, len(family) + 1))
            victim = psutil.Process(driver.process.pid) if chosen == len(family) else family[chosen]
            title = "the driver" if chosen == len(family) else title_of(victim)[:60]
            driver.kill(victim)
            self._count(f"{title} after {point - before} steps, {len(committed_units(rig.out))} units done")
        ended = driver.end()
        if ended.code > 0 and any(word in title for word in INFRASTRUCTURE):
            rig.runs.remove(ended)
            rig.runs.append(type(ended)(-9, ended.text))

    def _count(self, what: str) -> None:
        self._done += 1
        say(f"kill {self._done}, build {self._builds}: {what}")


def main() -> None:
    """Run a storm; exits 1 with the command that reproduces it if something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray-kills", type=int, default=None, help="how many of them with Ray; a tenth by default")
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--s3", action="store_true", help="write builds to a bucket of moto's server")
    given = parser.parse_args()
    ray_kills = 0 if given.no_ray else given.kills // 10 if given.ray_kills is None else given.ray_kills
    say(f"seed {given.seed}, {given.kills} kills, {ray_kills} of them with Ray")
    with (
        tempfile.TemporaryDirectory(prefix="dentgen-storm-") as folder,
        moto_bucket() if given.s3 else nullcontext("") as bucket,
    ):
        storm = Storm(Path(folder), given.seed, given.kills, ray_kills, bucket)
        try:
            verdicts = storm.run()
        except BaseException:
            command = "python -m tests.faults.storm"
            say(
                f"reproduce: {command} --kills {given.kills} --seed {given.seed} --ray-kills {ray_kills}"
                + " --s3" * given.s3
            )
            raise
    sums = {name: sum(getattr(v, name) for v in verdicts) for name in ("lost", "duplicated", "differing", "redone")}
    say(f"{given.kills} kills in {len(verdicts)} builds: " + ", ".join(f"{n} {name}" for name, n in sums.items()))
    sys.exit(0)


if __name__ == "__main__":
    main()
