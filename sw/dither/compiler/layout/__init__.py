"""Where things stand: tensors in parameter memories, activations in theirs."""
