"""Certificate: the proof, over every phase and epoch, that what was frozen did not move."""

from __future__ import annotations

from typing import Any

from tlx.network.fingerprint import assert_unmoved, combined, hashed
from tlx.network.network import Network


class Certificate:
    """Fingerprints frozen tensors when the set of what trains changes, and compares them when it changes again.

    It alone tells the network which epoch it is in, so that nothing wakes or sleeps without its notice. Its state is
    part of the checkpoint: the proof spans interruptions. It also proves that resuming restored what was frozen.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.done: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None  # the stretch of epochs that is going on
        self.always: dict[str, str] | None = None  # fingerprints of what was never awake

    def enter(self, phase: int, name: str, epoch: int) -> None:
        """Say which epoch of which phase begins, or goes on after an interruption.

        Raises:
            FrozenMovedError: What was frozen until now moved.
        """
        wanted = self.network.trained_in(epoch, phase)
        if self.open is not None and self.open["phase"] == name and set(self.open["trained"]) == wanted:
            self.network.set_epoch(epoch, phase)
            self.open["last"] = epoch
            return
        self.close()
        self.network.set_epoch(epoch, phase)
        before = hashed(self.network.frozen_tensors())
        self.open = {
            "phase": name,
            "first": epoch,
            "last": epoch,
            "trained": sorted(wanted),
            "before": before,
        }
        kept = before if self.always is None else {n: h for n, h in self.always.items() if n in before}
        self.always = kept

    def close(self) -> None:
        """End the stretch that is open: compare, and record it.

        Raises:
            FrozenMovedError: Names the tensors that moved.
        """
        if self.open is None:
            return
        assert_unmoved(self.open["before"], hashed(self.network.frozen_tensors()))
        self.done.append(
            {
                **{key: self.open[key] for key in ("phase", "first", "last")},
                "trained": len(self.open["trained"]),
                "frozen": len(self.open["before"]),
                "fingerprint": combined(self.open["before"]),
            }
        )
        self.open = None

    def settle(self) -> list[dict[str, Any]]:
        """Compare, once the weights to keep are chosen, what was never awake with its first fingerprints.

        Returns:
            A row for each stretch: phase, first and last epoch, tensors trained and frozen, their joint fingerprint.
        """
        self.close()
        tensors = self.network.state_dict()
        after = hashed({name: tensors[name] for name in self.always or {} if name in tensors})
        assert_unmoved({name: hash_ for name, hash_ in (self.always or {}).items() if name in tensors}, after)
        return self.done

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain types."""
        return {"done": self.done, "open": self.open, "always": self.always}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint stopped."""
        self.done = [dict(row) for row in state["done"]]
        self.open = dict(state["open"]) if state["open"] else None
        self.always = dict(state["always"]) if state["always"] is not None else None
