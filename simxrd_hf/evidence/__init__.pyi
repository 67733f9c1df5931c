from .combination import Combination as Combination
from .combination import LibraryEvidence as LibraryEvidence
from .combination import PatternEvidence as PatternEvidence
from .findings import Findings as Findings
from .findings import examine as examine
from .findings import group_features as group_features
from .findings import log_softmax as log_softmax
from .fit import fit_combination as fit_combination
