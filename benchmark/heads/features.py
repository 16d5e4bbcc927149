"""What a head sees of a mixture and its reference background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bgknown.errors import InvalidInputError

FEATURE_FORMS = {"mix": 1, "linear": 2, "full": 4}
"""Names of the forms, and how many times the embedding size each is wide.

``mix`` is y_mix alone; ``linear`` has y_bg beside it; ``full`` also relu(y_mix - y_bg) and min(y_mix, y_bg).
"""


def form_features(form: str, mix: NDArray[np.float32], background: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """The features of a head.

    Args:
        form: one of ``FEATURE_FORMS``.
        mix: [n, D] embeddings of mixtures.
        background: [n, D] those of reference backgrounds; not used by ``mix``.

    Returns:
        [n, P] float64, P = D times the form's width.
    """
    if form == "mix":
        return mix.astype(np.float64)
    if background is None:
        raise InvalidInputError(f"a head on {form} features needs embeddings of reference backgrounds")
    parts = [mix, background]
    if form == "full":
        parts += [np.maximum(mix - background, 0.0), np.minimum(mix, background)]
    return np.concatenate(parts, axis=1).astype(np.float64)
