"""Requests that submit messages (spec 04, *Sending*)."""

from attrs import frozen

from mensagod.values.identity import Domain
from mensagod.wire.fields import Fields, required
from mensagod.wire.long_texts import Text


@frozen(kw_only=True)
class SendFields(Fields):
    """SEND."""

    message: Text = required("Message", str, "the envelope", is_long=True)
    domain: Domain = required("Domain", Domain.from_text, "the recipient's domain")
