"""Run a config over several seeds and judge the results.

    python fcs/bench/evaluate.py --model digits-16 --seeds 0,1,2,3 --out runs/evaluate
    python fcs/bench/evaluate.py --model digits-16 --seeds 0,1,2,3 --out runs/replacement sampler=replacement

Writes OUT/seed-N (a run each, continued if it is there) and OUT/evaluate.json: the energy score over the seeds in the
model's own features and in those of a random network, truth retrieval, diversity, residual, PSNR and SSIM of one seed
and of the mean of all, each with the 95 % bootstrap interval over digits or glyphs; cost in denoiser calls. With
--versus DIR also the paired differences to the evaluation in DIR. Everything after the options is an override of the
config, as for fcs-predict. Prompts are empty unless --captions is given.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from fcs.bench.trial import Trial

CONFIGS = {"digits-16": "digits_half", "digits-16-flow": "digits_half", "emoji-64": "emoji_half"}


def parse() -> tuple[argparse.Namespace, list[str]]:
    """Command line: options, and overrides of the config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="model.name of the runs")
    parser.add_argument("--config", help="config to run (the model's own half-picture inpainting)")
    parser.add_argument("--seeds", default="0,1,2,3", help="seeds, comma separated (0,1,2,3)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and evaluate.json")
    parser.add_argument("--captions", action="store_true", help="give the records' prompts to the model")
    parser.add_argument("--versus", type=Path, help="folder of another evaluation, for paired differences")
    args, overrides = parser.parse_known_args()
    args.config = args.config or CONFIGS.get(args.model)
    if args.config is None or "," not in args.seeds:
        parser.error("expected --config for a model without one of its own, and two seeds or more")
    return args, overrides


def main() -> int:
    """Run, read, judge, write."""
    args, overrides = parse()
    seeds = tuple(int(seed) for seed in args.seeds.split(","))
    trial = Trial(args.config, (f"model.name={args.model}", *overrides), seeds, args.out, args.captions)
    code = trial.predict()
    if code == 0:
        report = trial.evaluate(args.versus)
        print(json.dumps({name: value for name, value in report.items() if name != "single"}, indent=1))
    return code


if __name__ == "__main__":
    sys.exit(main())
