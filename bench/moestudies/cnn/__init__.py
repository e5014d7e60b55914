"""What the claim of arXiv 2204.10598 comes to: soft constraints specialise experts, hard ones make models better."""

from moebench.studies.study import Study
from moestudies.cnn.claims import CLAIMS
from moestudies.cnn.figures import PLOTS
from moestudies.cnn.rows import FAMILIES, PART, row_name

REPORT = Study(
    name="cnn",
    source="arXiv 2204.10598 (Pavlitska, Hubschneider, Struppek, Zöllner)",
    question="The paper puts sparse mixtures into convolutional networks: each image goes, as a whole feature map, to "
    "a few of many ResNet blocks, or of many convolutions. It keeps the use of the experts in bounds by an auxiliary "
    "loss (a soft constraint) or by leaving out experts that had too much (a hard one), and says that soft constraints "
    "support specialization while hard ones keep experts general and make the model more accurate. Does that hold on "
    "CIFAR-10, with seeds, intervals, and plain networks of the same parameters and of the same work beside it?",
    claims=CLAIMS,
    plots=PLOTS,
    sized=tuple((PART, (row_name(family, "none"),), f"CIFAR-10, {family.experts}") for family in FAMILIES),
    arrays=("class_mass_CE_0", "use_CE_0", "right_CE"),
)
