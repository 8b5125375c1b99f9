"""Fields about passwords that several requests share (spec 04, *Logging in*)."""

from attrs import frozen

from mensagod.crypto.passwords import LoginParameters, login_parameters, parse_password_hash
from mensagod.errors import BadValue
from mensagod.wire.fields import Fields, optional, required

MAX_PARAMETER = 1024
"""The longest text that a client may have kept for it beside its password, in code points."""


def parse_parameter(text: str) -> str:
    """Check what a client wants to be given back at its logins."""
    if len(text) > MAX_PARAMETER:
        raise BadValue(f"at most {MAX_PARAMETER} characters")
    return text


@frozen(kw_only=True)
class NewPassword(Fields):
    """A password as a client sets it.

    :ivar hash: what the client made of it; a secret.
    """

    hash: str = required(
        "Password-Hash", parse_password_hash, "what the client made of the password", secret=True
    )
    algorithm: str = optional("Password-Algorithm", parse_parameter, "given back at logins", default="")
    salt: str = optional("Password-Salt", parse_parameter, "given back at logins", default="")
    parameters: str = optional("Password-Parameters", parse_parameter, "given back at logins", default="")

    @property
    def login_parameters(self) -> LoginParameters:
        """What to give back at logins; a hash that carries it itself wins over the fields."""
        return login_parameters(self.hash, self.algorithm, self.salt, self.parameters)

    @classmethod
    def from_hash(cls, password_hash: str) -> "NewPassword":
        """Give the fields for a hash.

        From a hash in Argon2's form come also the values with which another device of the user can hash the
        password in the same way.
        """
        found = login_parameters(password_hash, "", "", "")
        return cls(
            hash=password_hash, algorithm=found.algorithm, salt=found.salt, parameters=found.parameters
        )


@frozen(kw_only=True)
class PasswordFields(Fields):
    """Prove that the user knows the password."""

    password_hash: str = required(
        "Password-Hash", parse_password_hash, "what the client made of the password", secret=True
    )
