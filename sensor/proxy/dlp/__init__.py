"""What data is in a text: detectors from files, a site's own lists, and hits that never hold what they found."""

from sensor.proxy.dlp.extract import Extracted, ExtractLimits, attachments, extract
from sensor.proxy.dlp.load import DetectorError
from sensor.proxy.dlp.model import DATA_CLASSES, PROBLEMS, Hit, Limits, Scan, Text, fingerprint, normalised
from sensor.proxy.dlp.scan import Config, open_config, scan, steps
from sensor.proxy.dlp.site import ListError, Site, open_site

__all__ = [
    "DATA_CLASSES",
    "PROBLEMS",
    "Config",
    "DetectorError",
    "ExtractLimits",
    "Extracted",
    "Hit",
    "Limits",
    "ListError",
    "Scan",
    "Site",
    "Text",
    "attachments",
    "extract",
    "fingerprint",
    "normalised",
    "open_config",
    "open_site",
    "scan",
    "steps",
]
