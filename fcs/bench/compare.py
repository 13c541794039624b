"""``fcs-bench compare``: methods on the same model, records and seeds, each at its own price."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fcs.bench.comparison import Comparison, named
from fcs.bench.methods import chosen_methods
from fcs.bench.options import budgets, listed_seeds, one
from fcs.bench.origin import origin, write_json
from fcs.bench.presets import write_config
from fcs.bench.published import published
from fcs.bench.rows import Row, compared, row
from fcs.bench.tables import pictures, plot, table
from fcs.bench.tasks import setup
from fcs.core.errors import UsageError

REFERENCE = "newton-k1"  # method of the paired differences, where it is among those compared


def run(options: argparse.Namespace, overrides: list[str]) -> None:
    """Run what is not there yet, evaluate and write.

    Raises:
        UsageError: an option that does not fit.
        RunFailed: a run of fcs-predict ended early.
    """
    out = Path(options.out)
    limit = () if options.limit is None else (f"data.limit={one(options.limit, '--limit')}",)
    comparison = Comparison(
        setup(options.model, options.task, options.data),
        listed_seeds(options.seeds),
        out,
        (*limit, *overrides),
        options.captions,
        None if options.tuned is None else Path(options.tuned),
        options.inpaint_model,
        options.reference,
    )
    allowed, methods = budgets(options.calls), chosen_methods(options.methods)
    names = [method.name for method in methods]
    against = options.against or (REFERENCE if REFERENCE in names else names[0])
    if against not in names:
        raise UsageError.of("--against", against, "one of --methods", names)
    rows: list[Row] = []
    reports: dict[tuple[str, int | None], dict[str, Any]] = {}
    for budget in allowed:
        candidates = [comparison.candidate(method, budget) for method in methods]
        for candidate in candidates:
            made, evaluation = row(comparison, candidate, options.memory)
            rows.append(made)
            if evaluation is not None:
                reports[candidate.method.name, budget] = evaluation
                if candidate.method.space and candidate.method.name in comparison.chosen and made["energy"] is not None:
                    write_config(comparison, candidate, made, evaluation, out / "configs" / str(named(budget)))
            report(comparison, compared(rows, reports, against), against)
        pictures(comparison, candidates, out / f"pictures-{named(budget)}.png")
    plot(rows, out / "compare.png")
    print((out / "compare.md").read_text())


def report(comparison: Comparison, rows: list[Row], against: str) -> None:
    """Write rows and table as far as they are."""
    setup = comparison.setup
    facts = {
        **origin(),
        **{"model": setup.model, "task": setup.task, "config": setup.config, "data": setup.data},
        **{"seeds": list(comparison.seeds), "difference_to": against},
        **{"rows": rows, "published": published(setup.task)},
    }
    write_json(comparison.out / "compare.json", facts)
    (comparison.out / "compare.md").write_text(table(rows, against, published(setup.task)))
