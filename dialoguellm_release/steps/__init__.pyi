"""The modules of steps; each is imported when it is first used."""

__all__: list[str]

from . import adapter as adapter
from . import compare as compare
from . import dataset as dataset
from . import doctor as doctor
from . import model as model
from . import predict as predict
from . import recipe as recipe
from . import release as release
from . import score as score
from . import video as video
