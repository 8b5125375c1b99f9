"""The service of mensagod, for ``twistd mensagod``: names only."""

from twisted.application.service import ServiceMaker

service = ServiceMaker("mensagod", "mensagod.server.tap", "A server for the Mensago platform", "mensagod")
