"""Requests that submit messages (spec 04, *Sending*)."""

from attrs import frozen

from mensagod.values.identity import Domain
from mensagod.wire.fields import Fields, required


@frozen(kw_only=True)
class SendFields(Fields):
    """SEND."""

    message: str = required("Message", str, "the envelope")
    domain: Domain = required("Domain", Domain.from_text, "the recipient's domain")
