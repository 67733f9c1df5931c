from .library import LineLibrary as LineLibrary
from .library import build_library as build_library
from .library import read_library as read_library
from .search import LibrarySearch as LibrarySearch
from .search import Match as Match
from .search import Matches as Matches
from .search import find_matches as find_matches
