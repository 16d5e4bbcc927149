"""Predictions of probes as a table, and scores made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.predictions import average_by_seed
from benchmark.scores import Score
from benchmark.tasks.contract import Fold, TaskData
