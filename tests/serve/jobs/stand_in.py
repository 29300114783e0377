"""Stands in for papertune: reports to its file of events like a training, without importing torch.

What it does stands in plan.json of the work folder: "steps" (how many, each with its loss), "from" (the step after
which a resumed one goes on), "waits_after" (a step after which it waits for the file `go`), "error", "crashes",
"prints".
"""

import json
import signal
import sys
import time
from pathlib import Path

from papertune.errors import Sentence
from papertune.event_file import event_listener, report_message, reported_events
from papertune.events import Progress


def main() -> None:
    plan = json.loads(Path("plan.json").read_text("utf-8"))
    with reported_events():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if "crashes" in plan:
            raise ValueError(plan["crashes"])
        first = plan.get("from", 0) if "--resume" in sys.argv else 0
        for step in range(first + 1, plan.get("steps", 3) + 1):
            event_listener().progress(Progress("training", step, plan.get("steps", 3), 1.0, 0.0))
            event_listener().metrics(step, {"loss": 1 / step})
            while step == plan.get("waits_after") and not Path("go").exists():
                time.sleep(0.01)
        if "error" in plan:
            error = Sentence(plan["error"], plan.get("code", ""), **plan.get("params", {}))
            report_message(error, "error")
            sys.exit(2)
        if sys.argv[1] == "predict":
            Path(sys.argv[sys.argv.index("-o") + 1]).write_text("title,label\nThe heart,1\n", "utf-8")
        print(plan.get("prints", "done"))


main()
