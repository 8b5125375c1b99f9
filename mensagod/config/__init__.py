"""The configuration of the server (spec 06, *Configuration*)."""

from mensagod.config.faults import ConfigFaults, Fault, FaultCode
from mensagod.config.load import configuration_path, load
from mensagod.config.secret import Secret
from mensagod.config.tree import DEFAULT_PATH, Config

__all__ = [
    "DEFAULT_PATH",
    "Config",
    "ConfigFaults",
    "Fault",
    "FaultCode",
    "Secret",
    "configuration_path",
    "load",
]
