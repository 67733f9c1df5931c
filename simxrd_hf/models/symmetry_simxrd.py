"""Space groups and what follows from them, in the small form that travels with a model's own code.

The same facts as `simxrd_hf.symmetry`, which a model loaded from the Hub cannot import; a test holds both together.
"""

import numpy as np

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
BRAVAIS_LATTICES = ("aP", "mP", "mS", "oP", "oS", "oI", "oF", "tP", "tI", "hP", "hR", "cP", "cI", "cF")

# One line per space group, number 1 first: short Hermann-Mauguin symbol, crystal system, Bravais lattice, extinction
# symbol (with its system, so that it belongs to one system only).
_TABLE = """
P1,triclinic,aP,triclinic P -
P-1,triclinic,aP,triclinic P -
P2,monoclinic,mP,monoclinic P 1 - 1
P2_1,monoclinic,mP,monoclinic P 1 21 1
C2,monoclinic,mS,monoclinic C 1 - 1
Pm,monoclinic,mP,monoclinic P 1 - 1
Pc,monoclinic,mP,monoclinic P 1 c 1
Cm,monoclinic,mS,monoclinic C 1 - 1
Cc,monoclinic,mS,monoclinic C 1 c 1
P2/m,monoclinic,mP,monoclinic P 1 - 1
P2_1/m,monoclinic,mP,monoclinic P 1 21 1
C2/m,monoclinic,mS,monoclinic C 1 - 1
P2/c,monoclinic,mP,monoclinic P 1 c 1
P2_1/c,monoclinic,mP,monoclinic P 1 21/c 1
C2/c,monoclinic,mS,monoclinic C 1 c 1
P222,orthorhombic,oP,orthorhombic P - - -
P222_1,orthorhombic,oP,orthorhombic P - - 21
P2_12_12,orthorhombic,oP,orthorhombic P 21 21 -
P2_12_12_1,orthorhombic,oP,orthorhombic P 21 21 21
C222_1,orthorhombic,oS,orthorhombic C - - 21
C222,orthorhombic,oS,orthorhombic C - - -
F222,orthorhombic,oF,orthorhombic F - - -
I222,orthorhombic,oI,orthorhombic I - - -
I2_12_12_1,orthorhombic,oI,orthorhombic I - - -
Pmm2,orthorhombic,oP,orthorhombic P - - -
Pmc2_1,orthorhombic,oP,orthorhombic P - c -
Pcc2,orthorhombic,oP,orthorhombic P c c -
Pma2,orthorhombic,oP,orthorhombic P - c -
Pca2_1,orthorhombic,oP,orthorhombic P c a -
Pnc2,orthorhombic,oP,orthorhombic P n c -
Pmn2_1,orthorhombic,oP,orthorhombic P - n -
Pba2,orthorhombic,oP,orthorhombic P b a -
Pna2_1,orthorhombic,oP,orthorhombic P n a -
Pnn2,orthorhombic,oP,orthorhombic P n n -
Cmm2,orthorhombic,oS,orthorhombic C - - -
Cmc2_1,orthorhombic,oS,orthorhombic C - c -
Ccc2,orthorhombic,oS,orthorhombic C c c -
Amm2,orthorhombic,oS,orthorhombic C - - -
Aem2,orthorhombic,oS,orthorhombic C - - e
Ama2,orthorhombic,oS,orthorhombic C - c -
Aea2,orthorhombic,oS,orthorhombic C - c e
Fmm2,orthorhombic,oF,orthorhombic F - - -
Fdd2,orthorhombic,oF,orthorhombic F d d -
Imm2,orthorhombic,oI,orthorhombic I - - -
Iba2,orthorhombic,oI,orthorhombic I b a -
Ima2,orthorhombic,oI,orthorhombic I - a -
Pmmm,orthorhombic,oP,orthorhombic P - - -
Pnnn,orthorhombic,oP,orthorhombic P n n n
Pccm,orthorhombic,oP,orthorhombic P c c -
Pban,orthorhombic,oP,orthorhombic P b a n
Pmma,orthorhombic,oP,orthorhombic P - c -
Pnna,orthorhombic,oP,orthorhombic P n n a
Pmna,orthorhombic,oP,orthorhombic P n c -
Pcca,orthorhombic,oP,orthorhombic P c c a
Pbam,orthorhombic,oP,orthorhombic P b a -
Pccn,orthorhombic,oP,orthorhombic P c c n
Pbcm,orthorhombic,oP,orthorhombic P c a -
Pnnm,orthorhombic,oP,orthorhombic P n n -
Pmmn,orthorhombic,oP,orthorhombic P - n -
Pbcn,orthorhombic,oP,orthorhombic P b c n
Pbca,orthorhombic,oP,orthorhombic P b c a
Pnma,orthorhombic,oP,orthorhombic P n a -
Cmcm,orthorhombic,oS,orthorhombic C - c -
Cmce,orthorhombic,oS,orthorhombic C - c e
Cmmm,orthorhombic,oS,orthorhombic C - - -
Cccm,orthorhombic,oS,orthorhombic C c c -
Cmme,orthorhombic,oS,orthorhombic C - - e
Ccce,orthorhombic,oS,orthorhombic C c c e
Fmmm,orthorhombic,oF,orthorhombic F - - -
Fddd,orthorhombic,oF,orthorhombic F d d d
Immm,orthorhombic,oI,orthorhombic I - - -
Ibam,orthorhombic,oI,orthorhombic I b a -
Ibca,orthorhombic,oI,orthorhombic I b c a
Imma,orthorhombic,oI,orthorhombic I - a -
P4,tetragonal,tP,tetragonal P - - -
P4_1,tetragonal,tP,tetragonal P 41 - -
P4_2,tetragonal,tP,tetragonal P 42 - -
P4_3,tetragonal,tP,tetragonal P 41 - -
I4,tetragonal,tI,tetragonal I - - -
I4_1,tetragonal,tI,tetragonal I 41 - -
P-4,tetragonal,tP,tetragonal P - - -
I-4,tetragonal,tI,tetragonal I - - -
P4/m,tetragonal,tP,tetragonal P - - -
P4_2/m,tetragonal,tP,tetragonal P 42 - -
P4/n,tetragonal,tP,tetragonal P n - -
P4_2/n,tetragonal,tP,tetragonal P 42/n - -
I4/m,tetragonal,tI,tetragonal I - - -
I4_1/a,tetragonal,tI,tetragonal I 41/a - -
P422,tetragonal,tP,tetragonal P - - -
P42_12,tetragonal,tP,tetragonal P - 21 -
P4_122,tetragonal,tP,tetragonal P 41 - -
P4_12_12,tetragonal,tP,tetragonal P 41 21 -
P4_222,tetragonal,tP,tetragonal P 42 - -
P4_22_12,tetragonal,tP,tetragonal P 42 21 -
P4_322,tetragonal,tP,tetragonal P 41 - -
P4_32_12,tetragonal,tP,tetragonal P 41 21 -
I422,tetragonal,tI,tetragonal I - - -
I4_122,tetragonal,tI,tetragonal I 41 - -
P4mm,tetragonal,tP,tetragonal P - - -
P4bm,tetragonal,tP,tetragonal P - b -
P4_2cm,tetragonal,tP,tetragonal P - c -
P4_2nm,tetragonal,tP,tetragonal P - n -
P4cc,tetragonal,tP,tetragonal P - c c
P4nc,tetragonal,tP,tetragonal P - n c
P4_2mc,tetragonal,tP,tetragonal P - - c
P4_2bc,tetragonal,tP,tetragonal P - b c
I4mm,tetragonal,tI,tetragonal I - - -
I4cm,tetragonal,tI,tetragonal I - c -
I4_1md,tetragonal,tI,tetragonal I - - d
I4_1cd,tetragonal,tI,tetragonal I - c d
P-42m,tetragonal,tP,tetragonal P - - -
P-42c,tetragonal,tP,tetragonal P - - c
P-42_1m,tetragonal,tP,tetragonal P - 21 -
P-42_1c,tetragonal,tP,tetragonal P - 21 c
P-4m2,tetragonal,tP,tetragonal P - - -
P-4c2,tetragonal,tP,tetragonal P - c -
P-4b2,tetragonal,tP,tetragonal P - b -
P-4n2,tetragonal,tP,tetragonal P - n -
I-4m2,tetragonal,tI,tetragonal I - - -
I-4c2,tetragonal,tI,tetragonal I - c -
I-42m,tetragonal,tI,tetragonal I - - -
I-42d,tetragonal,tI,tetragonal I - - d
P4/mmm,tetragonal,tP,tetragonal P - - -
P4/mcc,tetragonal,tP,tetragonal P - c c
P4/nbm,tetragonal,tP,tetragonal P n b -
P4/nnc,tetragonal,tP,tetragonal P n n c
P4/mbm,tetragonal,tP,tetragonal P - b -
P4/mnc,tetragonal,tP,tetragonal P - n c
P4/nmm,tetragonal,tP,tetragonal P n - -
P4/ncc,tetragonal,tP,tetragonal P n c c
P4_2/mmc,tetragonal,tP,tetragonal P - - c
P4_2/mcm,tetragonal,tP,tetragonal P - c -
P4_2/nbc,tetragonal,tP,tetragonal P n b c
P4_2/nnm,tetragonal,tP,tetragonal P n n -
P4_2/mbc,tetragonal,tP,tetragonal P - b c
P4_2/mnm,tetragonal,tP,tetragonal P - n -
P4_2/nmc,tetragonal,tP,tetragonal P n - c
P4_2/ncm,tetragonal,tP,tetragonal P n c -
I4/mmm,tetragonal,tI,tetragonal I - - -
I4/mcm,tetragonal,tI,tetragonal I - c -
I4_1/amd,tetragonal,tI,tetragonal I a - d
I4_1/acd,tetragonal,tI,tetragonal I a c d
P3,trigonal,hP,trigonal P - - -
P3_1,trigonal,hP,trigonal P 31 - -
P3_2,trigonal,hP,trigonal P 31 - -
R3,trigonal,hR,trigonal R - -
P-3,trigonal,hP,trigonal P - - -
R-3,trigonal,hR,trigonal R - -
P312,trigonal,hP,trigonal P - - -
P321,trigonal,hP,trigonal P - - -
P3_112,trigonal,hP,trigonal P 31 - -
P3_121,trigonal,hP,trigonal P 31 - -
P3_212,trigonal,hP,trigonal P 31 - -
P3_221,trigonal,hP,trigonal P 31 - -
R32,trigonal,hR,trigonal R - -
P3m1,trigonal,hP,trigonal P - - -
P31m,trigonal,hP,trigonal P - - -
P3c1,trigonal,hP,trigonal P - c -
P31c,trigonal,hP,trigonal P - - c
R3m,trigonal,hR,trigonal R - -
R3c,trigonal,hR,trigonal R - c
P-31m,trigonal,hP,trigonal P - - -
P-31c,trigonal,hP,trigonal P - - c
P-3m1,trigonal,hP,trigonal P - - -
P-3c1,trigonal,hP,trigonal P - c -
R-3m,trigonal,hR,trigonal R - -
R-3c,trigonal,hR,trigonal R - c
P6,hexagonal,hP,hexagonal P - - -
P6_1,hexagonal,hP,hexagonal P 61 - -
P6_5,hexagonal,hP,hexagonal P 61 - -
P6_2,hexagonal,hP,hexagonal P 62 - -
P6_4,hexagonal,hP,hexagonal P 62 - -
P6_3,hexagonal,hP,hexagonal P 63 - -
P-6,hexagonal,hP,hexagonal P - - -
P6/m,hexagonal,hP,hexagonal P - - -
P6_3/m,hexagonal,hP,hexagonal P 63 - -
P622,hexagonal,hP,hexagonal P - - -
P6_122,hexagonal,hP,hexagonal P 61 - -
P6_522,hexagonal,hP,hexagonal P 61 - -
P6_222,hexagonal,hP,hexagonal P 62 - -
P6_422,hexagonal,hP,hexagonal P 62 - -
P6_322,hexagonal,hP,hexagonal P 63 - -
P6mm,hexagonal,hP,hexagonal P - - -
P6cc,hexagonal,hP,hexagonal P - c c
P6_3cm,hexagonal,hP,hexagonal P - c -
P6_3mc,hexagonal,hP,hexagonal P - - c
P-6m2,hexagonal,hP,hexagonal P - - -
P-6c2,hexagonal,hP,hexagonal P - c -
P-62m,hexagonal,hP,hexagonal P - - -
P-62c,hexagonal,hP,hexagonal P - - c
P6/mmm,hexagonal,hP,hexagonal P - - -
P6/mcc,hexagonal,hP,hexagonal P - c c
P6_3/mcm,hexagonal,hP,hexagonal P - c -
P6_3/mmc,hexagonal,hP,hexagonal P - - c
P23,cubic,cP,cubic P - - -
F23,cubic,cF,cubic F - - -
I23,cubic,cI,cubic I - - -
P2_13,cubic,cP,cubic P 21 - -
I2_13,cubic,cI,cubic I - - -
Pm-3,cubic,cP,cubic P - - -
Pn-3,cubic,cP,cubic P n - -
Fm-3,cubic,cF,cubic F - - -
Fd-3,cubic,cF,cubic F d - -
Im-3,cubic,cI,cubic I - - -
Pa-3,cubic,cP,cubic P a - -
Ia-3,cubic,cI,cubic I a - -
P432,cubic,cP,cubic P - - -
P4_232,cubic,cP,cubic P 21 - -
F432,cubic,cF,cubic F - - -
F4_132,cubic,cF,cubic F 41 - -
I432,cubic,cI,cubic I - - -
P4_332,cubic,cP,cubic P 41 - -
P4_132,cubic,cP,cubic P 41 - -
I4_132,cubic,cI,cubic I 41 - -
P-43m,cubic,cP,cubic P - - -
F-43m,cubic,cF,cubic F - - -
I-43m,cubic,cI,cubic I - - -
P-43n,cubic,cP,cubic P - - n
F-43c,cubic,cF,cubic F - - c
I-43d,cubic,cI,cubic I - - d
Pm-3m,cubic,cP,cubic P - - -
Pn-3n,cubic,cP,cubic P n - n
Pm-3n,cubic,cP,cubic P - - n
Pn-3m,cubic,cP,cubic P n - -
Fm-3m,cubic,cF,cubic F - - -
Fm-3c,cubic,cF,cubic F - - c
Fd-3m,cubic,cF,cubic F d - -
Fd-3c,cubic,cF,cubic F d - c
Im-3m,cubic,cI,cubic I - - -
Ia-3d,cubic,cI,cubic I a - d
"""

_ROWS = [line.split(",") for line in _TABLE.strip().splitlines()]
SPACE_GROUPS: tuple[str, ...] = tuple(row[0] for row in _ROWS)
EXTINCTION_SYMBOLS: tuple[str, ...] = tuple(dict.fromkeys(row[3] for row in _ROWS))

# Index arrays by space-group number - 1, shape (230,).
CRYSTAL_SYSTEM_OF = np.array([CRYSTAL_SYSTEMS.index(row[1]) for row in _ROWS], dtype=np.int16)
BRAVAIS_OF = np.array([BRAVAIS_LATTICES.index(row[2]) for row in _ROWS], dtype=np.int16)
EXTINCTION_OF = np.array([EXTINCTION_SYMBOLS.index(row[3]) for row in _ROWS], dtype=np.int16)

TASK_LABELS: dict[str, tuple[str, ...]] = {"space_group": SPACE_GROUPS, "crystal_system": CRYSTAL_SYSTEMS}
