"""Training: smaller nets that learn to answer as the original does, each then quantized like an original of its own.

    section     [train] in edgewise.toml; data reads its samples and keeps them apart from those that judge
    students    what a student is, as data; propose says which ones suit a model
    worker      a process of its own: original → student → fit → ONNX, with the figures of what came of it
      corpus    samples in batches, with what the original answers and the labels
      prune, layers, static, named, aware    the nets; each student's type selects one
      losses, fit    distillation and labels; epochs, schedule, the best epoch
      export    back to ONNX in the original's names, checked against the net

Needs the extra `train`; nothing here imports torch before a student is made.
"""
