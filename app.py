"""UpFront's web page: `python app.py [--host HOST] [--port PORT]`."""

import sys

from sr_core.streams import prepare_streams
from sr_core.ui.start import serve

if __name__ == "__main__":
    prepare_streams()
    sys.exit(serve())
