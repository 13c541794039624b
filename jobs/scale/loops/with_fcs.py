"""fcs-predict, with a line in the log at the end of each batch: python with_fcs.py LOG --config CONFIG key=value ..."""

import sys
from pathlib import Path
from typing import Any

from fcs.core.records import Result
from fcs.tasks.pipeline import Pipeline
from fcs.tools.cli import predict
from scale.loops import batch_log

log = Path(sys.argv.pop(1))
compute = Pipeline.__call__


def logged(self: Pipeline, *given: Any, **named: Any) -> Result:
    """The result of a batch."""
    result = compute(self, *given, **named)
    batch_log.write(log, result.calls)
    return result


Pipeline.__call__ = logged  # type: ignore[method-assign]
sys.exit(predict.main())
