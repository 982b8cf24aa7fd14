"""Runs tasks on the machines of a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from posebench.bench.ablation.parallel import failure_reason, run_when_unlocked
from posebench.errors import UsageError

if TYPE_CHECKING:
    from posebench.bench.ablation.parallel import Watcher
    from posebench.bench.ablation.tasks import Task


def run_on_cluster(tasks: list[Task], address: str, watcher: Watcher) -> dict[Task, str]:
    """Run tasks on a Ray cluster whose machines see the results folder and the data.

    Returns:
        The tasks that failed, with the reason.

    Raises:
        UsageError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise UsageError(
            "--ray-address needs Ray, which is not installed: pip install 'posebench[ray]', or "
            "leave --ray-address out."
        ) from None
    ray.init(address=address)
    failed: dict[Task, str] = {}
    try:
        resources: dict[str, Any] = {"num_cpus": max(tasks[0].threads, 1) if tasks else 1}
        if tasks and tasks[0].config.device.startswith("cuda"):
            resources["num_gpus"] = 1
        remote = ray.remote(**resources)(run_when_unlocked)
        running = {remote.remote(task): task for task in tasks}
        while running:
            [reference, *_], _ = ray.wait(list(running))
            task = running.pop(reference)
            try:
                ray.get(reference)
            except Exception as error:  # Ray wraps what the other machine raised
                failed[task] = failure_reason(getattr(error, "cause", None) or error)
            watcher.on_task_end(task, failed.get(task, ""))
    finally:
        ray.shutdown()
    return failed
