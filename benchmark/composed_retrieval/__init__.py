"""Retrieval with a text modifier: the system of Takeuchi et al. (section 5.3), several of them trained at once.

A system has an adapter for audio and one for text, into a shared space, and a linear multi-label classifier of the
events that sound. The query is the latent of the first soundscape plus that of the text, the target that of the second.
The loss is contrastive over the batch, in both directions, at a learned temperature, plus the classification of both
sides. The encoders are frozen, so training runs on embeddings, standardised by the training pairs.

Systems of several seeds and of several kinds of query (audio and text; the controls audio alone and text alone) have
their parameters stacked, and a step of all of them is one batched product for each layer. Draws are a seed's own: a
system's result is the same whatever is trained beside it, to rounding, and the controls see the same batches.
"""

from benchmark.composed_retrieval.pairs import KINDS, Pairs, System
from benchmark.composed_retrieval.training import Latents, Training, train_systems
from benchmark.protocol import ComposedSettings

__all__ = ["KINDS", "ComposedSettings", "Latents", "Pairs", "System", "Training", "train_systems"]
