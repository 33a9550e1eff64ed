"""What trained networks are worth: metrics, the judge behind them, and nearest training images.

``evaluate`` is all that training and the command line use::

    from gankit.evaluate import evaluate
"""

from gankit.evaluate.cache import KnownJudge, judge_for
from gankit.evaluate.evaluation import evaluate
from gankit.evaluate.judge import Judge, JudgeConfig, train_judge
from gankit.evaluate.real import RealImages
from gankit.evaluate.standard import Standard
from gankit.evaluate.table import METRICS, better

__all__ = [
    "METRICS",
    "Judge",
    "JudgeConfig",
    "KnownJudge",
    "RealImages",
    "Standard",
    "better",
    "evaluate",
    "judge_for",
    "train_judge",
]
