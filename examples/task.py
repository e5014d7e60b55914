"""A task: which row of a noisy image is bright? Data, what is learnt and how it is judged are one file.

moebench run examples/everything.toml
"""

import torch

from moebench.tasks import Classes, Image, Split, TaskInfo, accuracy

SIDE = 8
COUNTS = {"train": 2_000, "validation": 500, "test": 500}


class BrightRow(Classes):  # its loss is the cross-entropy, its headline the accuracy
    info = TaskInfo(
        name="bright_row",
        inputs=Image(1, SIDE, SIDE),
        targets={"row": SIDE},
        headline=accuracy(floor=1 / SIDE),
        label="bright rows",
    )
    split = "drawn: 2,000 / 500 / 500"

    def load(self, part, data_dir=None):
        self.check_part(part)
        generator = torch.Generator().manual_seed(list(COUNTS).index(part))
        row_N = torch.randint(SIDE, (COUNTS[part],), generator=generator)
        x_NCHW = torch.randn(COUNTS[part], 1, SIDE, SIDE, generator=generator)
        x_NCHW[torch.arange(len(row_N)), 0, row_N] += 0.8
        return Split(x_NCHW, {"row": row_N})
